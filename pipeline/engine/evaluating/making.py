"""Evaluations of models that make values: what is asked of them, who judges it, and what the record keeps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import JsonValue

from pipeline.config import Config
from pipeline.errors import ConfigError, SampleError
from pipeline.evaluation.coherence import Judge
from pipeline.modalities.decoding.decoder import METADATA_PREFIX
from pipeline.modalities.rendering.base import Rendering, generated
from pipeline.modalities.shown import Shown
from pipeline.models.bundle import Bundle
from pipeline.objectives.base import Judging
from pipeline.objectives.evaluation import MadeValues
from pipeline.objectives.made import BETWEEN, NOTHING, REAL, SHOWN, TARGET
from pipeline.objectives.sealed import objective_of
from pipeline.prediction.spec import ModelSpec
from pipeline.safe_text.redaction import redact
from pipeline.sample import KEY, SHARD, Field, Sample

if TYPE_CHECKING:
    from pipeline.prediction.made import Making

EXAMPLES, STEPS = 6, 7
SETTING = "evaluate.judge"


@dataclass(frozen=True)
class MakingJob:
    """What is asked of a model that makes values.

    Attributes:
        renderings: Modality -> how its values are made.
        judge: The bundle that judges them; None where none does.
        where: Its folder.
    """

    renderings: Mapping[str, Rendering]
    judge: Bundle | None
    where: str

    @classmethod
    def of(cls, config: Config, bundle: Bundle) -> MakingJob | None:
        """None for a model that makes nothing.

        Raises:
            ConfigError: A judge is named for such a model, or it reads nothing that the model makes, or tells nothing.
            ModelError: The judge cannot be read.
        """
        renderings = objective_of(bundle).renderings(bundle.learned)
        where = config.evaluate.judge or ""
        if not where:
            return cls(renderings, None, "") if renderings else None
        if not renderings:
            raise ConfigError(
                "the model makes no values of modalities that another could judge",
                where=f"{SETTING}={where}",
                fix="leave it out",
            )
        judge = Bundle.load(where, config.plugged())
        if not set(judge.modalities.by_name()) & set(renderings):
            raise ConfigError(
                f"the judge reads {', '.join(judge.modalities.by_name())}, and the model makes {', '.join(renderings)}",
                where=f"{SETTING}={where}",
                fix="name a model of one of these modalities, called the same",
            )
        if objective_of(judge).targets(judge.learned) is None:
            raise ConfigError(
                "the judge was trained without a target, and so tells nothing of a sample",
                where=f"{SETTING}={where}",
                fix="name a classifier, or another model that finds out what samples tell",
            )
        return cls(renderings, judge, where)

    @property
    def places(self) -> tuple[str, ...]:
        """Where the truth stands that the judge goes by."""
        if self.judge is None:
            return ()
        target = objective_of(self.judge).targets(self.judge.learned)
        return () if target is None else tuple(target.places)

    def for_parts(self, config: Config, spec: ModelSpec, num_parts: int) -> Making:
        """What each part is asked.

        Args:
            config: The whole configuration.
            spec: The model that is judged, and how it runs.
            num_parts: Of the split.
        """
        from pipeline.prediction.made import Making

        judge = None if self.judge is None else replace(spec, model=self.where)
        return Making(judge, max(2, -(-EXAMPLES // num_parts)), STEPS, config.evaluate.seed)

    def found(
        self,
        table: pa.Table,
        present: Mapping[str, NDArray[np.bool_]],
        subsets: Sequence[str],
        judging: Judging,
        json_depth: int,
    ) -> MadeValues:
        """What was made, for the record.

        Args:
            table: Predictions of N samples, with what was asked.
            present: Modality -> (N,) bool.
            subsets: Names of the subsets that values were made of.
            judging: How the split is judged.
            json_depth: Levels that JSON may have.
        """
        coherence, features = None, {}
        if self.judge is not None:
            truths = self._truths(table, json_depth)
            judge = Judge(redact(self.where), objective_of(self.judge), judging, truths)
            coherence = judge.coherence(table, present, subsets)
            features = judge.features(table, present)
        rows = np.flatnonzero(table[REAL].combine_chunks().is_valid().to_numpy(False))[:EXAMPLES]
        examples: list[JsonValue] = [self._example(table, int(row), subsets) for row in rows]
        between = [steps for steps in table[BETWEEN].to_pylist() if steps is not None][:1]
        walk: list[JsonValue] = [dict(self._cells(step)) for steps in between for step in steps]
        return MadeValues(examples, walk, coherence, features)

    def _example(self, table: pa.Table, row: int, subsets: Sequence[str]) -> dict[str, JsonValue]:
        made: dict[str, JsonValue] = {
            subset: dict(self._cells(table[f"{SHOWN}{subset}"][row].as_py()))
            for subset in (*subsets, TARGET, NOTHING)
            if f"{SHOWN}{subset}" in table.column_names
        }
        return {
            KEY: table[KEY][row].as_py(),
            SHARD: table[SHARD][row].as_py(),
            "real": dict(self._cells(table[REAL][row].as_py())),
            "made": made,
        }

    def _cells(self, cells: Mapping[str, object]) -> Iterator[tuple[str, JsonValue]]:
        """Name -> how a made value is shown, and what: a text, or bytes in base 64."""
        for column, cell in cells.items():
            name = column.removeprefix(generated(""))
            if cell is None:
                continue
            is_label = name not in self.renderings
            shown = Shown.of_text(str(cell)) if is_label else self.renderings[name].show(cell)
            yield name, shown.to_json()

    def _truths(self, table: pa.Table, json_depth: int) -> list[str | None]:
        """Canonical texts of the judge's targets, of N samples."""
        assert self.judge is not None
        target = objective_of(self.judge).targets(self.judge.learned)
        assert target is not None
        fields = [name for name in table.column_names if name.startswith(METADATA_PREFIX)]
        truths: list[str | None] = []
        for row in zip(*(table[name].to_pylist() for name in fields), strict=True):
            members = {
                name.removeprefix(METADATA_PREFIX): Field(memoryview(text.encode()), 0, 0)
                for name, text in zip(fields, row, strict=True)
                if text is not None
            }
            try:
                truths.append(target.read(Sample("", "", 0, members), json_depth))
            except SampleError:
                truths.append(None)
        if not any(truth is not None for truth in truths):
            raise ConfigError(
                f"no sample has {', '.join(self.places)}, which the judge tells",
                where=f"{SETTING}={self.where}",
                fix="judge a split that has it",
            )
        return truths
