"""What an objective is: its configuration, which the jobs go through, and its network, which training goes through.

An objective is one folder. No module outside that folder knows what it predicts, how it is judged or shown; see
:class:`ObjectiveSection` for all that the jobs ask. Nothing here imports torch when it is imported.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field, JsonValue

from pipeline.errors import ConfigError
from pipeline.metrics.columns import Sums
from pipeline.modalities.decoding.targets import Target
from pipeline.modalities.section import Section
from pipeline.models.record import Score
from pipeline.objectives.checks import Checks
from pipeline.objectives.evaluation import Evaluation, Prompts, TrainingSplit
from pipeline.objectives.made import MakesValues
from pipeline.objectives.sampling import Repeats
from pipeline.objectives.survey import TargetSurvey
from pipeline.plugins import KIND, Pluggable

if TYPE_CHECKING:
    from torch import nn

    from pipeline.metrics.record import EvaluationRecord, SampleScores
    from pipeline.modalities.base import ModalityConfig
    from pipeline.objectives.baselines import Baselines
    from pipeline.objectives.network import Objective
    from pipeline.reports.section import Section as ReportSection

Learned = Mapping[str, JsonValue]
"""What an objective has learned of the targets of the training split, kept in checkpoints and in the bundle."""

Arrays = Mapping[str, NDArray[np.float32]]
"""What a network says of B samples: name -> (B, ...) float32."""

EMBEDDING = "embedding"  # the column of vectors that search compares
# Which samples are equal in which modality, in an evaluation's predictions; no modality is called so.
CONTENTS = "+contents"


@dataclass(frozen=True)
class Judging:
    """How a split is judged.

    Attributes:
        split: Its name.
        seed: Of the bootstrap.
        num_bootstrap: Resamples of each interval.
    """

    split: str
    seed: int
    num_bootstrap: int


class ObjectiveSection(Checks, MakesValues, Section, Pluggable, ABC):
    """The configuration of an objective, through which jobs ask all that they must know of it.

    Attributes:
        NEEDS_VALUES: Whether its network looks at samples' values itself, beside what encoders make of them.
        TAKES_TARGETS: Whether its network is given what is read beside the modalities also where it predicts.
        SUBSETS_UP_TO: Modalities up to which every subset is judged; of more, the whole and each alone. None: always.
    """

    NEEDS_VALUES: ClassVar[bool] = True
    TAKES_TARGETS: ClassVar[bool] = False
    SUBSETS_UP_TO: ClassVar[int | None] = None

    kind: str = KIND
    width: Annotated[
        int, Field(ge=32, multiple_of=32, description="channels of tokens and embedding")
    ] = 64

    @property
    @abstractmethod
    def score(self) -> Score:
        """The number of an epoch that says how good it is."""

    @property
    @abstractmethod
    def metric(self) -> str:
        """The metric of an evaluation that subsets and other models are compared by, such as ``accuracy``."""

    @property
    def draws(self) -> bool:
        """Whether its network draws what it predicts, from the batch's column ``chance``, which only then is there."""
        return False

    def said(self) -> dict[str, Any]:
        """What a configuration says of it, as JSON: what it leaves open is the model's."""
        return {"kind": self.kind, **self.model_dump(mode="json", exclude_unset=True)}

    @property
    def preset(self) -> Learned | None:
        """What the configuration says of what is otherwise learned; None where it says nothing."""
        return None

    def about_inputs(self, modalities: Mapping[str, ModalityConfig]) -> Learned:
        """What it must know of the modalities later on, beside what :meth:`learn` has found; plain JSON.

        Args:
            modalities: As of :meth:`check_inputs`.
        """
        return {}

    def check_learned(self, learned: Learned) -> None:
        """Refuses targets that its network could not learn, before a sample is decoded.

        Args:
            learned: Of :meth:`learn` and :meth:`about_inputs`.

        Raises:
            ConfigError: Names the setting.
        """

    @abstractmethod
    def targets(self, learned: Learned | None = None) -> Target | None:
        """What is read beside the modalities; None where nothing is.

        Args:
            learned: What was learned, where targets that do not fit it are refused; None takes any that can be read.
        """

    @abstractmethod
    def survey(self) -> TargetSurvey:
        """An empty survey of targets."""

    @abstractmethod
    def learn(self, survey: Any) -> Learned:
        """What the targets of the training split say, plain JSON.

        Raises:
            ConfigError: They are not what the objective is for.
        """

    def remarks(self, survey: Any, learned: Learned) -> Mapping[str, int]:
        """What is odd about targets of a split that are used all the same, to be told in the log.

        Args:
            survey: Of the split's targets.
            learned: Of :meth:`learn`.

        Returns:
            A word for each oddity -> how often it is there; nothing that is not there.
        """
        return {}

    @abstractmethod
    def build(self, encoders: Mapping[str, nn.Module], learned: Learned) -> Objective:
        """Builds the network.

        Args:
            encoders: Modality -> encoder of ``width`` channels, in the order of the configuration.
            learned: Of :meth:`learn`.
        """

    def repeats(self, learned: Learned, seed: int) -> Repeats | None:
        """How often an epoch shows each training sample; None where it shows each once.

        Args:
            learned: Of :meth:`learn`.
            seed: Of the configuration, for chance.
        """
        return None

    # Shadows a deprecated class method of pydantic that nothing here calls.
    @abstractmethod
    def schema(self, learned: Learned) -> list[pa.Field]:  # type: ignore[override]
        """The columns that predictions add to the output, in order."""

    @abstractmethod
    def rows(self, arrays: Arrays, learned: Learned) -> pa.Table:
        """The columns of :meth:`schema`, of B samples.

        Args:
            arrays: Of :meth:`pipeline.objectives.network.Objective.predict`.
            learned: Of :meth:`learn`.
        """

    def footer(self, learned: Learned) -> dict[str, str]:
        """What the footer of written predictions says beside the model and the versions."""
        return {}

    def resolved(self, learned: Learned) -> dict[str, JsonValue]:
        """The settings, ready for JSON, with what was learned where the configuration left it open."""
        return self.model_dump(mode="json")

    def truth(self, texts: pa.Array) -> pa.Array:
        """Targets as they stand beside predictions, for canonical texts, strings (B,)."""
        return texts

    def texts(self, truth: pa.Array) -> list[str | None] | None:
        """The canonical texts of targets that stand beside predictions, for :meth:`truth` of B samples.

        Returns:
            (B,); None where what stands there does not say all of a target.
        """
        texts: list[str | None] = truth.to_pylist()
        return texts

    @abstractmethod
    def evaluation(self, learned: Learned, judging: Judging) -> Evaluation:
        """An evaluation without samples."""

    def prompted(self, evaluation: Evaluation, prompts: Callable[[], Prompts]) -> None:
        """Has an evaluation of its own judge by texts, too.

        Args:
            evaluation: Of :meth:`evaluation`.
            prompts: Makes them, once it is known that they are of use.

        Raises:
            ConfigError: It compares samples with no texts.
        """
        raise ConfigError(
            f"a model of the kind {self.kind} compares samples with no texts",
            where="evaluate.prompts",
            fix="leave it out, or train an objective that embeds texts beside the other modalities",
        )

    def fitted(self, evaluation: Evaluation, training: Callable[[], TrainingSplit | None]) -> None:
        """Has an evaluation of its own see the training split, where it fits something on it; most do not.

        Args:
            evaluation: Of :meth:`evaluation`.
            training: Predicts the split, once it is known that it is of use; None where it is not there.
        """

    @abstractmethod
    def difference(
        self,
        first: pa.Table,
        second: pa.Table,
        evaluation: Mapping[str, JsonValue],
        judging: Judging,
    ) -> dict[str, JsonValue]:
        """By how much ``metric`` differs between two models, on the same samples in the same order.

        Args:
            first: Rows of the one's ``evaluation/predictions.parquet``.
            second: The other's.
            evaluation: The content of ``evaluation/metrics.json`` of either.
            judging: How their split is judged.

        Returns:
            ``difference``, the first's metric minus the second's, and ``difference_interval``, its 95 % interval.
        """

    def sample_scores(
        self, rows: pa.Table, evaluation: Mapping[str, JsonValue]
    ) -> SampleScores | None:
        """What a comparison tests by, sample by sample; None where samples have no score of their own.

        Args:
            rows: Of ``evaluation/predictions.parquet``.
            evaluation: The content of ``evaluation/metrics.json``.
        """
        return None

    def baselines(self, learned: Learned, seed: int) -> Baselines | None:
        """Cheap models of the same targets that networks are held against; None where there are none.

        Args:
            learned: Of :meth:`learn`.
            seed: For chance.
        """
        return None

    def summary(self, rows: pa.Table, learned: Learned) -> Sums:
        """What nights are compared by: sums of written rows.

        Args:
            rows: Good rows, with the columns of :meth:`schema`.
            learned: Of :meth:`learn`.

        Returns:
            Name -> counts by value, or in bins: sums that are added up over parts.
        """
        return {}

    @abstractmethod
    def section(self) -> ReportSection:
        """What it puts on the page of a run."""

    @abstractmethod
    def flat(self, evaluation: EvaluationRecord) -> dict[str, float]:
        """The numbers of ``summary.json`` for what :meth:`Evaluation.compute` found; undefined ones left out."""
