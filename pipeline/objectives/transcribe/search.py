"""How the text is found that a sound says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from pipeline.modalities.section import Section
from pipeline.objectives.transcribe.language import Fusion, Grams, LanguageConfig

if TYPE_CHECKING:
    from torch import Tensor

    from pipeline.nets.ctc import Texts


class GreedyConfig(Section):
    """The likeliest symbol of each token."""

    kind: Literal["greedy"] = "greedy"

    @property
    def language(self) -> LanguageConfig | None:
        """What is learned of the language."""
        return None

    def run(self, log_probabilities: Tensor, lengths: Tensor, grams: Grams | None) -> Texts:
        """The texts of B samples; see :func:`pipeline.nets.ctc.greedy`."""
        from pipeline.nets.ctc import greedy

        return greedy(log_probabilities, lengths)


class BeamConfig(Section):
    """Several beginnings of the text are followed at once, each by all the ways in which it may be said."""

    kind: Literal["beam"] = "beam"
    width: Annotated[int, Field(ge=1, le=1024, description="beginnings that are followed")] = 16
    candidates: Annotated[
        int, Field(ge=1, le=1024, description="symbols that may go on at a token, its likeliest")
    ] = 16
    language: LanguageConfig | None = Field(
        default=None, description="what the training texts say of the language; null asks nothing"
    )

    def run(self, log_probabilities: Tensor, lengths: Tensor, grams: Grams | None) -> Texts:
        """The texts of B samples; see :func:`pipeline.nets.prefix_search.prefix_search`."""
        import torch

        from pipeline.nets.ctc import BLANK, Texts
        from pipeline.nets.prefix_search import prefix_search

        language = None
        if self.language is not None and grams is not None:
            language = Fusion(grams, self.language)
        found = [
            prefix_search(heard[:length], self.width, self.candidates, language)
            for heard, length in zip(
                log_probabilities.float().cpu().numpy(), lengths.tolist(), strict=True
            )
        ]
        symbols = torch.full(log_probabilities.shape[:2], BLANK)
        for row, text in enumerate(found):
            symbols[row, : len(text)] = torch.tensor(text, dtype=torch.int64)
        counts = torch.tensor([len(text) for text in found])
        return Texts(symbols.to(lengths.device), counts.to(lengths.device))


TranscriptSearchConfig = Annotated[GreedyConfig | BeamConfig, Field(discriminator="kind")]
