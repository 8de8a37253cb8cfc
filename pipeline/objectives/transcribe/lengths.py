"""Samples that are too short for their text: CTC has no way to say it, and no gradient to learn it by."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import SampleError
from pipeline.modalities.base import ModalityConfig
from pipeline.modalities.facets import Timed
from pipeline.objectives.texts.targets import references_of
from pipeline.objectives.texts.vocabulary import Vocabulary
from pipeline.objectives.transcribe.outputs import needed_by, outputs_for
from pipeline.sample import ERROR, LABEL


@dataclass(frozen=True)
class LengthCheck:
    """Looks at decoded samples; see :data:`pipeline.objectives.checks.SampleCheck`.

    Attributes:
        modality: Name of the one that is listened to.
        section: Its settings.
        vocabulary: What texts are written with.
    """

    modality: str
    section: ModalityConfig
    vocabulary: Vocabulary

    def __call__(self, table: pa.Table) -> Mapping[int, SampleError]:
        good = pc.and_(table[ERROR].is_null(), table[self.modality].is_valid()).to_numpy()
        rows = np.flatnonzero(good)
        if not len(rows):
            return {}
        encoder = self.section.encoder
        assert isinstance(encoder, Timed), "check_inputs has seen to it"
        timing = encoder.timing(self.section)
        column = table[self.modality].take(pa.array(rows)).combine_chunks()
        values = self.section.codec(None).collate(column).values
        ends = encoder.ends(self.section, values)
        texts = table[LABEL].take(pa.array(rows)).to_pylist()
        errors = {}
        for row, end, text in zip(rows.tolist(), ends.tolist(), texts, strict=True):
            tokens = min(timing.tokens, math.ceil(round(end / timing.seconds, 6)))
            needed = self._needed(text)
            if needed > tokens:
                errors[row] = SampleError(
                    f"the text needs {needed} tokens, and {end:.2f} s have {tokens} of {1000 * timing.seconds:.0f} ms",
                    reason="too_short",
                    setting=f"modalities.{self.modality}.encoder",
                )
        return errors

    def _needed(self, text: str | None) -> int:
        """Fewest tokens that can say the text which is learned, the first of several."""
        first = (references_of(text) or ("",))[0]
        return needed_by(outputs_for(first, self.vocabulary))


def length_check(modalities: Mapping[str, ModalityConfig], vocabulary: Vocabulary) -> LengthCheck:
    """The check of the one modality that is listened to."""
    ((name, section),) = modalities.items()
    return LengthCheck(name, section, vocabulary)
