"""What objectives say of values that networks make: those that make them, and those that judge them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa

from pipeline.errors import ConfigError

if TYPE_CHECKING:
    from pipeline.modalities.rendering.base import Rendering
    from pipeline.objectives.evaluation import Evaluation, MadeValues

# Columns of an evaluation's predictions, or their beginnings.
JUDGED, SHOWN, REAL, BETWEEN = "made>", "shown>", "real", "between"  # columns, or their beginnings
NOTHING = ""  # the subset of no modality, from which whole samples are made
TARGET = "+target"  # the subset of what is to be found out alone, where that may be given; no modality is called so
ITSELF = "+"  # what is made of a sample without a model, as it is written; no subset is called so


def column_of(subset: str, name: str) -> str:
    """The column of what the judge says of a modality that was made of a subset of the others."""
    return f"{JUDGED}{subset}>{name}"


class MakesValues:
    """What jobs ask an objective of made values."""

    def with_tokenizer(self, tokenizer: str | None) -> Self:
        """This section as it writes texts of a modality, where it does, with the tokenizer of its model."""
        return self

    def renderings(self, learned: Any) -> Mapping[str, Rendering]:
        """Modality -> how its values are made, in columns ``generated_NAME``; nothing where none are."""
        return {}

    def shown_made(self, evaluation: Evaluation, made: MadeValues) -> None:
        """Has an evaluation of its own take in examples of made values, and what a judge says of them.

        Args:
            evaluation: Of :meth:`pipeline.objectives.base.ObjectiveSection.evaluation`.
            made: What was made.

        Raises:
            ConfigError: It makes none.
        """
        raise ConfigError(
            "a model that makes no values of modalities has nothing to be judged by another",
            where="evaluate.judge",
            fix="leave it out",
        )

    def answers(self, rows: pa.Table) -> list[str | None] | None:
        """What predictions say, as canonical texts of targets, so that answers about made values can be compared.

        Args:
            rows: B rows with the columns of its schema.

        Returns:
            (B,); None where answers that say the same need not be equal.
        """
        return None
