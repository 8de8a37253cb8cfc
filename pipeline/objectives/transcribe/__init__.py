"""Transcripts: what is said in a sound? A text, by connectionist temporal classification. Its configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Literal, cast, get_args

import numpy as np
import pyarrow as pa
from pydantic import Field, JsonValue

from pipeline.errors import ConfigError
from pipeline.metrics.columns import Sums
from pipeline.modalities.base import EncoderConfig
from pipeline.modalities.facets import Timed
from pipeline.models.record import Score
from pipeline.objectives.base import Arrays, Judging, Learned
from pipeline.objectives.checks import SampleCheck
from pipeline.objectives.texts import TextSection
from pipeline.objectives.texts.survey import TextSurvey
from pipeline.objectives.transcribe import rows
from pipeline.objectives.transcribe.language import Grams, learned_grams
from pipeline.objectives.transcribe.search import GreedyConfig, TranscriptSearchConfig
from pipeline.objectives.transcribe.summary import summary

if TYPE_CHECKING:
    from torch import nn

    from pipeline.metrics.record import EvaluationRecord, SampleScores
    from pipeline.modalities.base import ModalityConfig
    from pipeline.objectives.transcribe.evaluation import TranscriptEvaluation
    from pipeline.objectives.transcribe.model import Transcriber
    from pipeline.objectives.transcribe.section import TranscriptSection

# What is learned of texts and of the modality, beside what all objectives of texts learn.
NEEDED, LANGUAGE, SECONDS, TOKENS = "tokens_needed", "language", "seconds_per_token", "max_tokens"


class TranscribeConfig(TextSection):
    """A writer of what is said in one modality that has time.

    What it learns of the targets beside the vocabulary is ``tokens_needed``, which half of the texts need no more of,
    and ``language``, where the search asks for it; of the modality ``seconds_per_token`` and ``max_tokens``.
    """

    kind: Literal["transcribe"] = "transcribe"
    search: TranscriptSearchConfig = Field(
        default=GreedyConfig(), description="finds the text of a prediction"
    )
    dropout: Annotated[float, Field(ge=0, lt=1, description="of the tokens' channels")] = 0.1

    @property
    def score(self) -> Score:
        return Score("cer", "min")

    @property
    def metric(self) -> str:
        return "cer"

    def check_inputs(self, modalities: Mapping[str, ModalityConfig]) -> None:
        """Refuses several modalities, and one whose encoder does not say when its tokens are."""
        if len(modalities) != 1:
            raise ValueError(
                f"objective.kind: transcribe listens to one modality, and modalities has {', '.join(modalities)}; "
                f"leave all but one out, as in modalities.NAME=null"
            )
        ((name, section),) = modalities.items()
        if isinstance(section.encoder, Timed):
            return
        timed = list(_timed_encoders(section))
        if not timed:
            raise ValueError(
                f"objective.kind: transcribe needs a modality whose encoder has tokens in time, and no encoder of "
                f"modalities.{name} ({section.kind}) has; choose another modality or another objective.kind"
            )
        raise ValueError(
            f"modalities.{name}.encoder: {section.encoder.kind} does not tell when its tokens are, which "
            f"objective.kind=transcribe needs; set modalities.{name}.encoder.kind to one of {', '.join(timed)}"
        )

    def about_inputs(self, modalities: Mapping[str, ModalityConfig]) -> Learned:
        (section,) = modalities.values()
        encoder = section.encoder
        assert isinstance(encoder, Timed), "check_inputs has seen to it"
        timing = encoder.timing(section)
        return {SECONDS: timing.seconds, TOKENS: timing.tokens}

    def learn(self, survey: TextSurvey) -> Learned:
        from pipeline.objectives.transcribe.outputs import needed_by, outputs_for, outputs_of

        learned = dict(super().learn(survey))
        vocabulary = self.words(learned)
        texts = {text: tuple(outputs_for(text, vocabulary)) for text in survey.texts}
        needed = [needed_by(texts[text]) for text in survey.texts]
        learned[NEEDED] = _weighted_median(needed, list(survey.texts.values()))
        if self.search.language is not None:
            counted = {texts[text]: count for text, count in survey.texts.items()}
            size = outputs_of(vocabulary)
            learned[LANGUAGE] = learned_grams(counted, size, self.search.language).to_json()
        return learned

    def sample_check(
        self, modalities: Mapping[str, ModalityConfig], learned: Learned
    ) -> SampleCheck:
        from pipeline.objectives.transcribe.lengths import length_check

        return length_check(modalities, self.words(learned))

    def check_learned(self, learned: Learned) -> None:
        """Refuses an encoder that half of the texts would be too long for, however long their sounds."""
        needed, tokens, seconds = (learned[name] for name in (NEEDED, TOKENS, SECONDS))
        assert isinstance(needed, int)
        assert isinstance(tokens, int)
        assert isinstance(seconds, float)
        if needed > tokens:
            raise ConfigError(
                f"half of the training texts need {needed} tokens or more, and the encoder has {tokens} of "
                f"{1000 * seconds:.0f} ms at most",
                where="the encoder of the modality",
                fix="choose an encoder with shorter tokens (of encoder.kind=sequence, encoder.token_ms), raise "
                "max_seconds if sounds are cut, or set objective.vocabulary.kind=bpe",
            )

    def build(self, encoders: Mapping[str, nn.Module], learned: Learned) -> Transcriber:
        from pipeline.objectives.transcribe.model import Transcriber

        grams = learned.get(LANGUAGE)
        return Transcriber(
            self, encoders, self.words(learned), None if grams is None else Grams.from_json(grams)
        )

    def schema(self, learned: Learned) -> list[pa.Field]:  # type: ignore[override]
        return rows.schema(self.width)

    def rows(self, arrays: Arrays, learned: Learned) -> pa.Table:
        seconds = learned[SECONDS]
        assert isinstance(seconds, float)
        return rows.table(arrays, self.words(learned), seconds)

    def evaluation(self, learned: Learned, judging: Judging) -> TranscriptEvaluation:
        from pipeline.objectives.transcribe.evaluation import TranscriptEvaluation

        frequent = learned["most_frequent"]
        assert isinstance(frequent, str)
        return TranscriptEvaluation(self.words(learned), frequent, judging)

    def difference(
        self,
        first: pa.Table,
        second: pa.Table,
        evaluation: Mapping[str, JsonValue],
        judging: Judging,
    ) -> dict[str, JsonValue]:
        from pipeline.objectives.transcribe.evaluation import difference

        return difference(first, second, judging)

    def sample_scores(self, rows: pa.Table, evaluation: Mapping[str, JsonValue]) -> SampleScores:
        from pipeline.objectives.transcribe.evaluation import sample_scores

        return sample_scores(rows)

    def summary(self, rows: pa.Table, learned: Learned) -> Sums:
        return summary(rows)

    def section(self) -> TranscriptSection:
        from pipeline.objectives.transcribe.section import TranscriptSection

        return TranscriptSection(self.score)

    def flat(self, evaluation: EvaluationRecord) -> dict[str, float]:
        from pipeline.objectives.transcribe.evaluation import summary_metrics

        return summary_metrics(evaluation)


def _timed_encoders(section: ModalityConfig) -> Iterator[str]:
    """Kinds of the encoders of a modality whose tokens have times."""
    annotation = type(section).model_fields["encoder"].annotation
    for member in get_args(annotation):
        if isinstance(member, type) and issubclass(member, Timed):
            yield cast(type[EncoderConfig], member).model_fields["kind"].default


def _weighted_median(numbers: list[int], weights: list[int]) -> int:
    """The lowest number that half of the weight is not above."""
    order = np.argsort(numbers, kind="stable")
    reached = np.cumsum(np.array(weights)[order])
    return int(np.array(numbers)[order][np.searchsorted(reached, reached[-1] / 2)])
