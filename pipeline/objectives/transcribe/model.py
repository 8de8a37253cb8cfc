"""The network that transcribes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from pipeline.metrics.texts.errors import Errors, errors_of
from pipeline.modalities.layers import Features
from pipeline.nets import ctc
from pipeline.objectives.base import EMBEDDING
from pipeline.objectives.network import Batch, Objective
from pipeline.objectives.texts.targets import references_of
from pipeline.objectives.texts.vocabulary import END, Vocabulary
from pipeline.objectives.transcribe.lacking import lacking_characters
from pipeline.objectives.transcribe.outputs import outputs_for, outputs_of, text_of
from pipeline.objectives.transcribe.rows import BEHIND, FIRST, SCORE, SYMBOLS

if TYPE_CHECKING:
    from pipeline.objectives.transcribe import TranscribeConfig
    from pipeline.objectives.transcribe.language import Grams

SAID, COUNT, LACKING = "said", "num_symbols", "num_lacking"


class Transcriber(Objective):
    """An encoder of one modality with time, and a linear layer that says a symbol, or the blank, for each token.

    Args:
        config: The objective's section of the configuration.
        encoders: The modality -> encoder, called with the batch's values, returning Features.
        vocabulary: The symbols of texts.
        grams: What is known of the language; None where nothing is.
    """

    def __init__(
        self,
        config: TranscribeConfig,
        encoders: Mapping[str, nn.Module],
        vocabulary: Vocabulary,
        grams: Grams | None,
    ) -> None:
        super().__init__()
        self.settings, self.vocabulary, self.grams = config, vocabulary, grams
        (self.modality,) = encoders
        self.encoders = nn.ModuleDict(dict(encoders))
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(config.width, outputs_of(vocabulary))

    def targets(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """The first of each sample's references, whichever there are more.

        Returns:
            ``said``, int64 (B, U), outputs; ``num_symbols``, int64 (B,), how many; ``num_lacking``, int64 (B,),
            characters that the vocabulary lacks.
        """
        first = [(references_of(text) or ("",))[0] for text in texts]
        written = [outputs_for(text, self.vocabulary) for text in first]
        symbols = torch.full((len(written), max([1, *map(len, written)])), ctc.BLANK)
        for row, outputs in enumerate(written):
            symbols[row, : len(outputs)] = torch.tensor(outputs, dtype=torch.int64)
        lacking = [lacking_characters(self.vocabulary, [text]).total() for text in first]
        return {
            SAID: symbols,
            COUNT: torch.tensor([len(outputs) for outputs in written]),
            LACKING: torch.tensor(lacking),
        }

    def loss(self, batch: Batch, turn: str = "model") -> tuple[Tensor, dict[str, Tensor]]:
        """Negative log-probability of each text by its symbols, the mean over samples; zero where tokens are too few.

        Returns:
            The loss, and the sums ``samples``, ``loss``, ``too_short`` (samples whose text needs more tokens than they
            have), ``lacking`` (characters), and, of the likeliest paths, ``edits`` and ``characters``, ``word_edits``
            and ``words``, and ``exact``.
        """
        _, log_probabilities, lengths = self._heard(batch)
        texts = ctc.Texts(batch[SAID], batch[COUNT])
        nats, possible = ctc.losses(log_probabilities, lengths, texts)
        nats = nats / texts.counts.clamp(min=1)
        with torch.no_grad():
            said = self._words(ctc.greedy(log_probabilities, lengths))
            right = self._words(texts)
            references = [[text] for text in right]
            characters = errors_of(references, said, "characters")
            words = errors_of(references, said, "words")
            numbers = {
                "samples": len(right),
                "loss": float(nats.double().sum()),
                "too_short": int((~possible).sum()),
                "lacking": int(batch[LACKING].sum()),
                "exact": sum(map(str.__eq__, said, right)),
                **_sums("edits", "characters", characters),
                **_sums("word_edits", "words", words),
            }
        return nats.mean(), {
            name: torch.tensor(float(number), dtype=torch.float64, device=nats.device)
            for name, number in numbers.items()
        }

    def predict(self, batch: Batch, seed: int = 0) -> dict[str, Tensor]:
        """Transcribes samples.

        Returns:
            ``embedding`` float32 (B, D), the mean of a sample's tokens; ``symbols``, ``first`` and ``behind`` float32
            (B, L), the symbols of the text, the token that each begins with, and the one behind its last; ``score``
            float32 (B,), the text's log-probability, over all ways to say it.
        """
        with torch.no_grad():
            features, log_probabilities, lengths = self._heard(batch)
            texts = self.settings.search.run(log_probabilities, lengths, self.grams)
            times = ctc.aligned(log_probabilities, lengths, _cut(texts))
            nats, _ = ctc.losses(log_probabilities, lengths, texts)
            heard = lengths > 0
            symbols = torch.where(texts.symbols == ctc.BLANK, 0, texts.symbols + END)
            tokens = features.clean().sum(dim=1) / lengths.clamp(min=1)[:, None]
        length = symbols.shape[1]
        return {
            EMBEDDING: tokens.float(),
            SYMBOLS: symbols.float(),
            FIRST: _padded(times.first, length),
            BEHIND: _padded(times.behind, length),
            SCORE: torch.where(heard, -nats, 0.0),
        }

    def metrics(self, sums: Mapping[str, float]) -> dict[str, float]:
        """``loss``, ``cer``, ``wer`` and ``exact_match`` of the likeliest paths, and the share ``too_short``.

        Where there are characters that the vocabulary lacks, their number is ``lacking_characters``.
        """
        samples = max(1.0, sums["samples"])
        metrics = {
            "loss": sums["loss"] / samples,
            "cer": sums["edits"] / max(1.0, sums["characters"]),
            "wer": sums["word_edits"] / max(1.0, sums["words"]),
            "exact_match": sums["exact"] / samples,
            "too_short": sums["too_short"] / samples,
        }
        if sums["lacking"]:
            metrics["lacking_characters"] = sums["lacking"]
        return metrics

    def _heard(self, batch: Batch) -> tuple[Features, Tensor, Tensor]:
        """The tokens, the log-probability of each output, float32 (B, L, V), and the real tokens, int64 (B,)."""
        encoded: Features = self.encoders[self.modality](batch[self.modality])
        features = encoded.where(batch[f"{self.modality}_present"])
        logits = self.head(self.dropout(features.clean()))
        return features, logits.float().log_softmax(dim=-1), features.mask.sum(dim=1)

    def _words(self, texts: ctc.Texts) -> list[str]:
        """The B texts."""
        rows = zip(texts.symbols.tolist(), texts.counts.tolist(), strict=True)
        return [text_of(outputs[:count], self.vocabulary) for outputs, count in rows]


def _sums(edits: str, units: str, errors: Errors) -> dict[str, int]:
    return {edits: int(errors.edits.sum()), units: int(errors.lengths.sum())}


def _cut(texts: ctc.Texts) -> ctc.Texts:
    """The same with as many columns as the longest text needs."""
    longest = max(1, int(texts.counts.max())) if len(texts.counts) else 1
    return ctc.Texts(texts.symbols[:, :longest], texts.counts)


def _padded(tokens: Tensor, length: int) -> Tensor:
    """Float32 (B, L) for int64 (B, U), zeros behind."""
    return nn.functional.pad(tokens, (0, length - tokens.shape[1])).float()
