"""A part of the configuration tree, and what it is where there are few samples to train on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Self

from pydantic import BaseModel, ConfigDict

FEW_SAMPLES = 1000  # training splits that are smaller have defaults of their own


class Section(BaseModel):
    """A part of the configuration tree: immutable, and unknown keys are errors.

    Attributes:
        FOR_FEW: Settings of a training on fewer than :data:`FEW_SAMPLES` samples, where nothing else is said of them.
    """

    FOR_FEW: ClassVar[Mapping[str, object]] = {}

    model_config = ConfigDict(frozen=True, extra="forbid")

    def for_samples(self, count: int | None, made: Section | None = None) -> Self:
        """This section as it suits a training split of so many samples: what was said stays as it is.

        Args:
            count: None leaves all as it is.
            made: That of a model of so many samples, which has what suited them when it was trained.
        """
        if count is None or count >= FEW_SAMPLES:
            return self
        left_out = {
            name: getattr(made, name) if type(made) is type(self) else value
            for name, value in self.FOR_FEW.items()
            if name not in self.model_fields_set
        }
        return self.model_copy(update=left_out) if left_out else self
