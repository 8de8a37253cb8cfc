"""Layers shared by the encoders and the fusions, and the letters of every shape.

    B batch      L tokens     D width        C channels    H, W pixels
    T audio samples           F mel bins     N frames      K classes     M modalities

A mask is True where data is real. Every layer here works on one sample at a time (no batch
statistics), so what a sample becomes never depends on its neighbours in the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.modalities.moments import Moments

MOST_DEVIATIONS = 10.0  # an outlier among statistics counts as so many
SMALL_DEVIATION = 0.001  # of weights that what is learned soon outgrows


class Features(NamedTuple):
    """What an encoder makes of one modality.

    Attributes:
        tokens: float (B, L, D).
        mask: bool (B, L), True where a token is real; all False where a sample lacks the modality.
    """

    tokens: Tensor
    mask: Tensor

    def where(self, present: Tensor) -> Features:
        """The same features, with every token masked where ``present``, bool (B,), is False."""
        return Features(self.tokens, self.mask & present[:, None])

    def clean(self) -> Tensor:
        """The tokens (B, L, D), exact zeros where masked, whatever stood there, NaN included."""
        return torch.where(self.mask[..., None], self.tokens, self.tokens.new_zeros(()))


def perceptron(size: int, width: int, layers: int, hidden: int, dropout: float) -> list[nn.Module]:
    """The modules of a perceptron with ``layers`` hidden layers: float (B, size) -> (B, width).

    Args:
        size: Numbers that go in.
        width: Numbers that come out.
        layers: Hidden layers.
        hidden: Their width.
        dropout: Behind each of them.
    """
    blocks: list[nn.Module] = []
    for _ in range(layers):
        blocks += [nn.Linear(size, hidden), nn.GELU(), nn.Dropout(dropout)]
        size = hidden
    return [*blocks, nn.Linear(size, width)]


class StatisticsEncoder(nn.Module):
    """A perceptron over fixed statistics of a value, standardised by the training set, to one token.

    Args:
        size: Statistics of a value (S).
        width: D, channels of the token.
        layers: Hidden layers.
        hidden: Their width.
        dropout: Of the statistics, and behind each hidden layer.
        least_deviation: Added to each statistic's deviation in the training set.
        small_start: The first layer begins so small that what is learned soon outgrows it: of large random weights a
            network learns few samples by heart.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        size: int,
        width: int,
        layers: int,
        hidden: int,
        dropout: float,
        least_deviation: float = 0.0,
        *,
        small_start: bool = False,
    ) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("deviation", torch.ones(size))
        self.least_deviation = least_deviation
        self.layers = nn.Sequential(
            nn.Dropout(dropout), *perceptron(size, width, layers, hidden, dropout)
        )
        if small_start:
            first = next(layer for layer in self.layers if isinstance(layer, nn.Linear))
            nn.init.normal_(first.weight, std=SMALL_DEVIATION)
            nn.init.zeros_(first.bias)
        self.norm = nn.LayerNorm(width)

    def fit(self, moments: Moments) -> None:
        """Takes over the training set's mean and deviation."""
        self.mean.copy_(torch.tensor(moments["mean"], dtype=torch.float64))
        self.deviation.copy_(torch.tensor(moments["deviation"], dtype=torch.float64))

    def encode(self, statistics: Tensor, weight: Tensor | None = None) -> Features:
        """Encodes statistics.

        Args:
            statistics: float (B, S).
            weight: float (S,), how much each counts; all alike where None.

        Returns:
            Features of one token; real.
        """
        distance = (statistics - self.mean) / (self.deviation + self.least_deviation)
        distance = distance.clamp(-MOST_DEVIATIONS, MOST_DEVIATIONS)
        tokens = self.norm(self.layers(distance if weight is None else distance * weight))[:, None]
        return Features(
            tokens, torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
        )


def alike(sizes: Sequence[int]) -> Tensor:
    """Weights of numbers in groups, by which each group counts as much as any other, however many numbers it has.

    Args:
        sizes: Numbers of each group; S together.

    Returns:
        float32 (S,), whose squares are 1 in the mean; exact ones where there is one group.
    """
    counts = torch.tensor(sizes)
    share = (sum(sizes) / len(sizes) / counts).sqrt()
    return share.repeat_interleave(counts)


def masked_softmax(scores: Tensor, mask: Tensor, dim: int) -> Tensor:
    """Softmax over the real entries; zeros, not NaN, where there is none.

    Args:
        scores: float, any shape.
        mask: bool, broadcastable to ``scores``.
        dim: The dimension that sums to one.

    Returns:
        float, the shape of ``scores``.
    """
    # A finite floor: with -inf a row without real entries has NaN gradients.
    scores = torch.where(mask, scores, torch.full_like(scores, -1e4))
    return torch.where(mask, scores.softmax(dim=dim), torch.zeros_like(scores))


class AttentionPool(nn.Module):
    """One vector for a set of tokens: for each head, a mean weighted by a learned score.

    Args:
        width: D.
        heads: Number of weightings, each for its own D / heads channels.

    Source:
        Ilse et al. 2018, "Attention-based deep multiple instance learning", equation 8 with a
        linear score, for several heads.
    """

    def __init__(self, width: int, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.score = nn.Linear(width, heads)
        self.value = nn.Linear(width, width)

    def forward(self, features: Features) -> Tensor:
        """Pools ``features`` to float (B, D); zeros where a sample has no token."""
        tokens = self.norm(features.clean())
        weights = masked_softmax(
            self.score(tokens), features.mask[..., None], dim=1
        )  # (B, L, heads)
        values = self.value(tokens).unflatten(-1, (self.heads, -1))  # (B, L, heads, D / heads)
        pooled: Tensor = (weights[..., None] * values).sum(dim=1).flatten(1)
        return pooled


class TransformerBlock(nn.Module):
    """Self-attention and a two-layer perceptron, both residual with the norm first.

    Args:
        width: D, divisible by ``heads``.
        heads: Number of attention heads.
        dropout: Probability of dropping a residual channel.
        expansion: Hidden width of the perceptron, in widths.

    Source:
        Vaswani et al. 2017, "Attention is all you need", equation 1; norm first after Xiong et al.
        2020, "On layer normalization in the transformer architecture".
    """

    def __init__(self, width: int, heads: int, dropout: float, expansion: int = 2) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.project = nn.Linear(width, width)
        self.norm_perceptron = nn.LayerNorm(width)
        self.perceptron = nn.Sequential(
            nn.Linear(width, expansion * width), nn.GELU(), nn.Linear(expansion * width, width)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor, mask: Tensor, num_queries: int | None = None) -> Tensor:
        """Lets the first tokens look at all real ones.

        Args:
            tokens: float (B, L, D), finite also where masked.
            mask: bool (B, L); a row without a real token looks at its first one.
            num_queries: Q, how many tokens are wanted; all by default.

        Returns:
            float (B, Q, D); meaningless, but finite, where masked.
        """
        normed = self.norm_attention(tokens)
        query = self._heads(self.query(normed[:, :num_queries]))
        key, value = self.key_value(normed).chunk(2, dim=-1)
        attended = functional.scaled_dot_product_attention(
            query,
            self._heads(key),
            self._heads(value),
            attn_mask=_attendable(mask)[:, None, None, :],
        )  # (B, heads, Q, D / heads)
        tokens = tokens[:, :num_queries]
        tokens = tokens + self.dropout(self.project(attended.transpose(1, 2).flatten(2)))
        output: Tensor = tokens + self.dropout(self.perceptron(self.norm_perceptron(tokens)))
        return output

    def _heads(self, tokens: Tensor) -> Tensor:
        """(B, L, D) -> (B, heads, L, D / heads)."""
        return tokens.reshape(*tokens.shape[:2], self.heads, -1).transpose(1, 2)


class ConvBlock(nn.Module):
    """Halves a feature map and refines it: strided 3x3 convolution, then a residual one.

    Args:
        in_channels: C of the input.
        out_channels: C of the output.
        kernel_size: Of the strided convolution.

    Source:
        He et al. 2016, "Deep residual learning for image recognition", equation 1.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 3) -> None:
        super().__init__()
        self.down = nn.Conv2d(
            in_channels, out_channels, kernel_size, stride=2, padding=kernel_size // 2, bias=False
        )
        self.norm_down = channel_norm(out_channels)
        self.refine = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.norm_refine = channel_norm(out_channels)

    def forward(self, maps: Tensor) -> Tensor:
        """Maps float (B, C, H, W) to (B, C', ceil(H / 2), ceil(W / 2))."""
        maps = functional.relu(self.norm_down(self.down(maps)))
        refined: Tensor = maps + functional.relu(self.norm_refine(self.refine(maps)))
        return refined


def channel_norm(channels: int) -> nn.GroupNorm:
    """Norm of each channel of each sample over its pixels, with a learned scale and offset.

    Group norm with groups of one: trained as fast as batch norm in our trials, and twice as fast as
    larger groups on noisy spectrograms, whose channels differ much in scale.

    Source:
        Ulyanov et al. 2016, "Instance normalization", equation 2.
    """
    return nn.GroupNorm(channels, channels)


def stage_channels(num_stages: int, width: int, smallest: int = 16) -> list[int]:
    """Channels after each of ``num_stages`` halvings: doubling, and ``width`` at the end.

    Example:
        >>> stage_channels(3, 64)
        [16, 32, 64]
    """
    return [max(min(smallest, width), width >> (num_stages - 1 - i)) for i in range(num_stages)]


def _attendable(mask: Tensor) -> Tensor:
    """The mask, with the first token real in rows that have none (softmax over nothing is NaN)."""
    first = torch.zeros_like(mask)
    first[:, 0] = ~mask.any(dim=1)
    return mask | first
