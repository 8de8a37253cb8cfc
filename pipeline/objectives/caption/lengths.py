"""Captions that are longer than what is learned of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from pipeline.errors import SampleError
from pipeline.objectives.texts.targets import references_of
from pipeline.objectives.texts.vocabulary import Vocabulary
from pipeline.sample import ERROR, LABEL


@dataclass(frozen=True)
class CutCheck:
    """Notes samples one of whose texts is cut; see :data:`pipeline.objectives.checks.SampleCheck`.

    Attributes:
        max_tokens: Symbols that are learned, the end included.
        vocabulary: What texts are written with.
        field: Where the texts stand.
    """

    max_tokens: int
    vocabulary: Vocabulary
    field: str

    def __call__(self, table: pa.Table) -> Mapping[int, SampleError]:
        errors = {}
        pairs = zip(table[LABEL].to_pylist(), table[ERROR].is_null().to_pylist(), strict=True)
        for row, (text, good) in enumerate(pairs):
            if not good:
                continue
            longest = max(
                (len(self.vocabulary.encode(one)) + 1 for one in references_of(text) or ()),
                default=0,
            )
            if longest > self.max_tokens:
                errors[row] = SampleError(
                    f"a text has {longest} symbols, and {self.max_tokens} are learned",
                    reason="noted_cut_target",
                    field=self.field,
                    setting="objective.max_tokens",
                )
        return errors
