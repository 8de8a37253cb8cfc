"""The network that writes about samples."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.modalities.chance import CHANCE, Chance
from pipeline.modalities.layers import Features
from pipeline.objectives.base import EMBEDDING
from pipeline.objectives.caption.rows import SCORE, SYMBOLS
from pipeline.objectives.network import Batch, Objective
from pipeline.objectives.texts.targets import references_of
from pipeline.objectives.texts.vocabulary import END, PAD, START, Vocabulary

if TYPE_CHECKING:
    from pipeline.objectives.caption import CaptionConfig

REFERENCES, COUNTS = "references", "num_references"


class Captioner(Objective):
    """Encoders, a fusion, and a decoder that looks at the tokens of every modality and at the fused embedding.

    Training hides modalities at random (modality dropout, Neverova et al. 2016, "ModDrop"), so that any subset of them
    can be written about, and of several references teaches one by chance.

    Args:
        config: The objective's section of the configuration.
        encoders: Modality -> encoder, called with the batch's values, returning Features.
        vocabulary: The symbols of texts.
    """

    def __init__(
        self, config: CaptionConfig, encoders: Mapping[str, nn.Module], vocabulary: Vocabulary
    ) -> None:
        super().__init__()
        self.settings, self.vocabulary = config, vocabulary
        self.modalities = tuple(encoders)
        self.encoders = nn.ModuleDict(dict(encoders))
        self.fusion = config.fusion.build(config.width, self.modalities)
        self.norm = nn.LayerNorm(config.width)
        # Which modality a token is of; the last belongs to the fused embedding.
        self.origin = nn.Parameter(0.02 * torch.randn(len(encoders) + 1, config.width))
        self.decoder = config.decoder.build(vocabulary.size, config.width, config.max_tokens)

    def targets(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """``references``, int64 (B, R, T + 1), START and END around each, and how many a sample has, int64 (B,)."""
        samples = [[self._written(text) for text in references_of(line) or ()] for line in texts]
        most = max(map(len, samples), default=1)
        longest = max((len(text) for sample in samples for text in sample), default=2)
        references = torch.full((len(samples), most, longest), PAD)
        for row, sample in enumerate(samples):
            for column, symbols in enumerate(sample):
                references[row, column, : len(symbols)] = torch.tensor(symbols)
        return {REFERENCES: references, COUNTS: torch.tensor([len(sample) for sample in samples])}

    def _written(self, text: str) -> list[int]:
        """A text's symbols, at most ``max_tokens`` and the START before them; one that is cut has no END."""
        symbols = [START, *self.vocabulary.encode(text), END]
        return symbols[: self.settings.max_tokens + 1]

    def loss(self, batch: Batch, turn: str = "model") -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy of each symbol behind those before it, the mean over a text, the mean over samples.

        Returns:
            The loss, smoothed in training alone, and the sums ``samples``, ``loss``, ``nll`` (nats, of all symbols),
            ``tokens`` (symbols) and ``right`` (symbols that were the likeliest).
        """
        chance = Chance(batch[CHANCE]) if CHANCE in batch else None
        _, memory = self._seen(batch, chance)
        text = self._taught(batch, chance)
        inputs, wanted = text[:, :-1], text[:, 1:]
        logits = self.decoder(inputs, memory)
        smoothing = self.settings.label_smoothing if self.training else 0.0
        real = wanted != PAD
        counts = real.sum(dim=1).clamp(min=1)
        losses = _cross_entropy(logits, wanted, smoothing)  # (B, T), zero behind the end
        loss = (losses.sum(dim=1) / counts).mean()
        with torch.no_grad():
            nll = _cross_entropy(logits, wanted, 0.0)
            right = (logits.argmax(dim=-1) == wanted) & real
            sums = {
                "samples": torch.tensor(len(text)),
                "loss": (nll.sum(dim=1) / counts).sum(),
                "nll": nll.sum(),
                "tokens": real.sum(),
                "right": right.sum(),
            }
        return loss, {name: value.double() for name, value in sums.items()}

    def predict(self, batch: Batch, seed: int = 0) -> dict[str, Tensor]:
        """Writes about samples.

        Returns:
            ``embedding`` float32 (B, D), ``symbols`` float32 (B, T), which a text is made of, and ``score`` float32
            (B,), the log-probability of the text.
        """
        with torch.no_grad():
            embedding, memory = self._seen(batch)
            state = self.decoder.begin(memory)
            seeds = (
                batch[CHANCE] if CHANCE in batch else torch.zeros(len(embedding), dtype=torch.int64)
            )
            chance = Chance(seeds.to(embedding.device) ^ seed)
            generated = self.settings.search.run(
                self.decoder.step, state, self.settings.max_tokens, chance
            )
        return {
            EMBEDDING: embedding.float(),
            SYMBOLS: generated.symbols.float(),
            SCORE: generated.score.float(),
        }

    def metrics(self, sums: Mapping[str, float]) -> dict[str, float]:
        """``loss``, ``perplexity`` of a symbol, and ``token_accuracy``, where the symbols before are given."""
        tokens = max(1.0, sums["tokens"])
        return {
            "loss": sums["loss"] / max(1.0, sums["samples"]),
            "perplexity": math.exp(min(sums["nll"] / tokens, 700.0)),
            "token_accuracy": sums["right"] / tokens,
        }

    def _seen(self, batch: Batch, chance: Chance | None = None) -> tuple[Tensor, Features]:
        """The embedding (B, D), and the tokens that are looked at: those of every modality, and the embedding's."""
        features: dict[str, Features] = {}
        for name, encoder in self.encoders.items():
            encoded: Features = encoder(batch[name])
            features[name] = encoded.where(batch[f"{name}_present"])
        present = torch.stack([features[name].mask.any(dim=1) for name in self.modalities], dim=1)
        if self.training:
            shown = self._shown(present, chance)
            features = {
                name: features[name].where(shown[:, i]) for i, name in enumerate(self.modalities)
            }
        embedding = self.norm(self.fusion(features))
        tokens = [features[name].clean() + self.origin[i] for i, name in enumerate(self.modalities)]
        tokens.append((embedding + self.origin[-1])[:, None])
        masks = [*(features[name].mask for name in self.modalities), present.any(dim=1)[:, None]]
        return embedding, Features(torch.cat(tokens, dim=1), torch.cat(masks, dim=1))

    def _shown(self, present: Tensor, chance: Chance | None) -> Tensor:
        """``present``, bool (B, M), with some hidden, never all of a sample."""
        if chance is None:
            drawn = torch.rand(present.shape, device=present.device)
        else:
            drawn = chance.stream("modalities").uniform(present.shape[1])
        shown = present & (drawn >= self.settings.modality_dropout)
        return torch.where(shown.any(dim=1, keepdim=True), shown, present)

    def _taught(self, batch: Batch, chance: Chance | None) -> Tensor:
        """int64 (B, T + 1): the first reference of each sample; in training, one of them by chance."""
        references = batch[REFERENCES]
        if not self.training or chance is None or references.shape[1] == 1:
            return references[:, 0]
        drawn = chance.stream("references").uniform(1)[:, 0]
        chosen = (drawn * batch[COUNTS]).long()
        rows = torch.arange(len(references), device=references.device)
        return references[rows, chosen]


def _cross_entropy(logits: Tensor, wanted: Tensor, smoothing: float) -> Tensor:
    """float32 (B, T), nats: of logits (B, T, V) against symbols (B, T); zero for PAD.

    Source:
        Szegedy et al. 2016, "Rethinking the Inception architecture", section 7, of the smoothing.
    """
    losses = functional.cross_entropy(
        logits.flatten(0, 1),
        wanted.flatten(),
        ignore_index=PAD,
        reduction="none",
        label_smoothing=smoothing,
    )
    return losses.view(wanted.shape)
