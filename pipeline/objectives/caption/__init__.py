"""Captions: what does a sample show? A text, written symbol by symbol. Its configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal, Self

import pyarrow as pa
from pydantic import Field, JsonValue, model_validator

from pipeline.metrics.columns import Sums
from pipeline.modalities.section import Section
from pipeline.models.fusion import AttentionConfig, FusionConfig
from pipeline.models.record import Score
from pipeline.objectives.base import Arrays, Judging, Learned
from pipeline.objectives.caption import rows
from pipeline.objectives.caption.summary import summary
from pipeline.objectives.checks import SampleCheck
from pipeline.objectives.texts import TextSection
from pipeline.objectives.texts.search import BeamConfig, SearchConfig

if TYPE_CHECKING:
    from torch import nn

    from pipeline.metrics.record import EvaluationRecord, SampleScores
    from pipeline.modalities.base import ModalityConfig
    from pipeline.nets.decoder import SequenceDecoder
    from pipeline.objectives.caption.evaluation import CaptionEvaluation
    from pipeline.objectives.caption.model import Captioner
    from pipeline.objectives.caption.section import CaptionSection
    from pipeline.objectives.texts.survey import TextSurvey

Probability = Annotated[float, Field(ge=0, lt=1)]


class TransformerDecoderConfig(Section):
    """Layers of attention to what was written and to what is seen."""

    kind: Literal["transformer"] = "transformer"
    layers: Annotated[int, Field(ge=1, le=48, description="of the decoder")] = 2
    heads: Annotated[
        int, Field(ge=1, le=32, description="of the attention; they share the width")
    ] = 4
    dropout: Annotated[Probability, Field(description="of the decoder's channels")] = 0.1

    def build(self, symbols: int, width: int, length: int) -> SequenceDecoder:
        """Builds the network for so many symbols, and texts of at most ``length`` of them."""
        from pipeline.nets.decoder import TransformerDecoder

        return TransformerDecoder(symbols, width, length, self.layers, self.heads, self.dropout)


class LSTMDecoderConfig(Section):
    """A recurrent network that looks anew at what is seen before each symbol: Show, Attend and Tell."""

    kind: Literal["lstm"] = "lstm"
    dropout: Annotated[
        Probability, Field(description="of symbols, and of what the next one is chosen by")
    ] = 0.3

    def build(self, symbols: int, width: int, length: int) -> SequenceDecoder:
        """Builds the network for so many symbols; it writes texts of any length."""
        from pipeline.nets.recurrent import AttentiveLSTM

        return AttentiveLSTM(symbols, width, self.dropout)


DecoderConfig = Annotated[TransformerDecoderConfig | LSTMDecoderConfig, Field(discriminator="kind")]


class CaptionConfig(TextSection):
    """A writer about samples with any subset of the modalities."""

    SUBSETS_UP_TO = 3  # a text is written symbol by symbol

    kind: Literal["caption"] = "caption"
    max_tokens: Annotated[
        int,
        Field(
            ge=2, le=4096, description="symbols of a text, its end included; longer ones are cut"
        ),
    ] = 64
    fusion: FusionConfig = Field(
        default=AttentionConfig(), description="joins the modalities that a sample has"
    )
    decoder: DecoderConfig = Field(
        default=TransformerDecoderConfig(), description="writes the text"
    )
    search: SearchConfig = Field(default=BeamConfig(), description="finds a likely text")
    label_smoothing: Annotated[
        Probability, Field(description="share of each symbol's target that is spread over all")
    ] = 0.1
    modality_dropout: Annotated[
        Probability, Field(description="how often training hides a modality; never all of a sample")
    ] = 0.2

    @property
    def score(self) -> Score:
        return Score("perplexity", "min")

    @property
    def metric(self) -> str:
        return "cider"

    def remarks(self, survey: TextSurvey, learned: Learned) -> Mapping[str, int]:
        longer = survey.longer(self.words(learned), self.max_tokens - 1)
        return {
            **super().remarks(survey, learned),
            **({"texts_cut_to_max_tokens": longer} if longer else {}),
        }

    def sample_check(
        self, modalities: Mapping[str, ModalityConfig], learned: Learned
    ) -> SampleCheck:
        from pipeline.objectives.caption.lengths import CutCheck

        return CutCheck(self.max_tokens, self.words(learned), self.target.partition(".")[0])

    @property
    def draws(self) -> bool:
        return self.search.DRAWS

    def build(self, encoders: Mapping[str, nn.Module], learned: Learned) -> Captioner:
        from pipeline.objectives.caption.model import Captioner

        return Captioner(self, encoders, self.words(learned))

    def schema(self, learned: Learned) -> list[pa.Field]:  # type: ignore[override]
        return rows.schema(self.width)

    def rows(self, arrays: Arrays, learned: Learned) -> pa.Table:
        return rows.table(arrays, self.words(learned))

    def evaluation(self, learned: Learned, judging: Judging) -> CaptionEvaluation:
        from pipeline.objectives.caption.evaluation import CaptionEvaluation

        return CaptionEvaluation(str(learned["most_frequent"]), judging)

    def difference(
        self,
        first: pa.Table,
        second: pa.Table,
        evaluation: Mapping[str, JsonValue],
        judging: Judging,
    ) -> dict[str, JsonValue]:
        from pipeline.objectives.caption.evaluation import difference

        return difference(first, second, judging)

    def sample_scores(self, rows: pa.Table, evaluation: Mapping[str, JsonValue]) -> SampleScores:
        from pipeline.objectives.caption.evaluation import sample_scores

        return sample_scores(rows)

    def summary(self, rows: pa.Table, learned: Learned) -> Sums:
        return summary(rows)

    def section(self) -> CaptionSection:
        from pipeline.objectives.caption.section import CaptionSection

        return CaptionSection(self.score)

    def flat(self, evaluation: EvaluationRecord) -> dict[str, float]:
        from pipeline.objectives.caption.evaluation import summary_metrics

        return summary_metrics(evaluation)

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> Self:
        heads = self.decoder.heads if isinstance(self.decoder, TransformerDecoderConfig) else 1
        if self.width % heads:
            raise ValueError(
                f"objective.decoder.heads: {heads} heads cannot share objective.width={self.width}; choose a number "
                "that divides it"
            )
        return self

    @model_validator(mode="after")
    def _fuses_features(self) -> Self:
        if self.fusion.JOINS_OUTPUTS:
            raise ValueError(
                f"objective.fusion.kind={self.fusion.kind} joins the answers of modalities, and {self.kind} writes one "
                "text from what all of them show; choose a fusion of features or tokens, such as attention"
            )
        return self
