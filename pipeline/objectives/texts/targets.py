"""Texts as targets: where they stand, and how they are read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from pydantic import JsonValue

from pipeline.errors import SampleError
from pipeline.modalities.decoding.members import field_json, field_text
from pipeline.modalities.decoding.targets import label_place, missing_label
from pipeline.modalities.strict_json import DEPTH
from pipeline.modalities.text.codec import clean
from pipeline.sample import Sample

SETTING = "objective.target"
REASON = "bad_label"


@dataclass(frozen=True)
class TextTarget:
    """The text of a sample, or several that are all right; see :class:`pipeline.modalities.decoding.targets.Target`.

    Texts are cleaned as the text modality's are. The canonical text is a JSON list of them, in their order, each once.

    Attributes:
        place: Where they stand.
        lower: Puts them in lower case.
    """

    place: str
    lower: bool = False

    @property
    def setting(self) -> str:
        return SETTING

    @property
    def places(self) -> tuple[str, ...]:
        return (self.place,)

    @property
    def identity(self) -> JsonValue:
        return {"place": self.place, "lower": self.lower}

    @property
    def accepted(self) -> None:
        return None

    @property
    def countable(self) -> bool:
        return False

    def read(self, sample: Sample, json_depth: int = DEPTH) -> str:
        field, path = label_place(self.place, sample.fields)
        if field not in sample.fields:
            raise missing_label(field, "the sample has no text", SETTING)
        try:
            return self._canonical(self._references(sample, field, path, json_depth), field)
        except SampleError as error:
            if error.setting:
                raise
            raise SampleError(
                error.what, reason=error.reason, field=error.field, setting=SETTING
            ) from None

    def accept(self, text: str | None) -> str:
        if text is None:
            raise missing_label(self.place, "the sample has no text", SETTING)
        return text

    def _references(self, sample: Sample, field: str, path: str, json_depth: int) -> Sequence[str]:
        """The texts in a field that is there, as they are written."""
        data = sample.fields[field].data
        if not path:
            return [field_text(data, field, REASON)]
        value = field_json(data, field, REASON, json_depth)
        for step in path.split("."):
            if not isinstance(value, dict) or step not in value:
                raise missing_label(field, f"no {path} in the JSON", SETTING)
            value = value[step]
        references = value if isinstance(value, list) else [value]
        if not all(isinstance(reference, str) for reference in references):
            raise SampleError(
                f"{path} is not a text, nor a list of texts", reason=REASON, field=field
            )
        return references

    def _canonical(self, references: Sequence[str], field: str) -> str:
        cleaned = [clean(reference).strip() for reference in references]
        texts = [text.lower() if self.lower else text for text in cleaned if text]
        if not texts:
            raise SampleError("the text is empty", reason=REASON, field=field)
        return self.written(list(dict.fromkeys(texts)))

    @staticmethod
    def written(references: Sequence[str]) -> str:
        """The canonical text of texts that were read."""
        return json.dumps(references, ensure_ascii=False)


@lru_cache(maxsize=1 << 14)
def references_of(text: str | None) -> tuple[str, ...] | None:
    """The texts of a canonical one; None for None."""
    return None if text is None else tuple(json.loads(text))
