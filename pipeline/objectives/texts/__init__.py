"""What objectives share whose targets are texts: how these are read, what they are written with, how one is found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

import pyarrow as pa
from pydantic import Field

from pipeline.objectives.base import Learned, ObjectiveSection
from pipeline.objectives.texts.survey import TextSurvey
from pipeline.objectives.texts.targets import TextTarget, references_of
from pipeline.objectives.texts.vocabulary import (
    CharactersConfig,
    Vocabulary,
    VocabularyConfig,
)


class TextSection(ObjectiveSection):
    """Settings of an objective whose target is a text, or one of several that say the same.

    What it learns of the targets is ``vocabulary``, the symbols that texts are written with, and ``most_frequent``, the
    text that most samples have.
    """

    target: Annotated[
        str,
        Field(
            min_length=1,
            description="field with the text, or json.path inside a JSON field; of a list there, all are right",
        ),
    ] = "txt"
    lower: Annotated[bool, Field(description="puts texts in lower case")] = False
    vocabulary: VocabularyConfig = Field(
        default=CharactersConfig(), description="symbols that texts are written with"
    )

    def targets(self, learned: Learned | None = None) -> TextTarget:
        return TextTarget(self.target, self.lower)

    def survey(self) -> TextSurvey:
        return TextSurvey(self.targets())

    def learn(self, survey: TextSurvey) -> Learned:
        return {
            "vocabulary": survey.vocabulary(self.vocabulary).to_json(),
            "most_frequent": survey.most_frequent(),
        }

    def remarks(self, survey: TextSurvey, learned: Learned) -> Mapping[str, int]:
        unknown = survey.unknown(self.words(learned))
        return {"unknown_characters": unknown} if unknown else {}

    def words(self, learned: Learned) -> Vocabulary:
        """The vocabulary that was learned."""
        return Vocabulary.from_json(learned["vocabulary"])

    def truth(self, texts: pa.Array) -> pa.Array:
        """Lists of the texts that are right."""
        return pa.array(map(references_of, texts.to_pylist()), pa.list_(pa.string()))

    def texts(self, truth: pa.Array) -> Sequence[str | None]:  # type: ignore[override]
        return [
            None if references is None else TextTarget.written(references)
            for references in truth.to_pylist()
        ]
