"""The networks of encoders, one a modality: columns of decoded values -> tensors -> embeddings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.modalities.codecs import dense_column
from pipeline.modalities.image.resize import CHANNELS
from pipeline.modalities.inputs import ImageInput

Encode = Callable[..., Tensor]
MIN_TOKENS = 16


class Tower(nn.Module):
    """One modality's way into the embedding space.

    ``forward(*inputs)`` takes what :meth:`prepare` made, on the network's device, and gives (B, D).

    Attributes:
        pinned: Large tensors are made in memory that is copied to a GPU without being moved first.
        learning_rate_factor: Of the optimizer's learning rate, where the tower is trained.
        before_blocks: Ends of paths of weights that are used before all blocks, wherever the library lists them.
        behind_blocks: The same of weights that are used behind all blocks.
    """

    pinned = False
    learning_rate_factor = 1.0
    before_blocks: tuple[str, ...] = ()
    behind_blocks: tuple[str, ...] = ()

    def prepare(self, column: pa.Array) -> tuple[Tensor, ...]:
        """Decoded values, none null -> (B, ...) tensors on the CPU, of one shape where that is cheap."""
        raise NotImplementedError

    def order(self, column: pa.Array) -> np.ndarray | None:
        """In which order the rows of a part are best looked at, (B,) int64; None for theirs."""
        return None


class ImageTower(Tower):
    """Scales pixels as the model wants them, and encodes them.

    Args:
        network: Encodes (B, 3, H, W) float, channels last, to (B, D); a module, or one's method.
        inputs: How images were decoded, and how they are scaled.
        holder: The module that ``network`` is a method of.
    """

    def __init__(
        self, network: Encode, inputs: ImageInput, holder: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.network = network
        self.holder = holder
        self.size = inputs.size
        self.scale: Tensor
        self.shift: Tensor
        mean, std = torch.tensor(inputs.mean), torch.tensor(inputs.std)
        # (x / 255 - mean) / std in one pass.
        self.register_buffer("scale", (1 / (255 * std)).reshape(-1, 1, 1), persistent=False)
        self.register_buffer("shift", (-mean / std).reshape(-1, 1, 1), persistent=False)

    def prepare(self, column: pa.Array) -> tuple[Tensor, ...]:
        """A column of uint8 images -> (B, H, W, 3) uint8."""
        values = dense_column(column, (self.size, self.size, CHANNELS)).values
        pixels = torch.empty(values.shape, dtype=torch.uint8, pin_memory=self.pinned)
        np.copyto(pixels.numpy(), values)
        return (pixels,)

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, H, W, 3) uint8 -> (B, D)."""
        # The bytes of an image are in the order that channels_last asks for: the copy is none.
        scaled = pixels.permute(0, 3, 1, 2).float() * self.scale + self.shift
        return self.network(scaled)


class TextTower(Tower):
    """Tokenizes texts as the model wants them, and encodes the ids.

    Args:
        network: Encodes the tensors that ``tokenize`` gives to (B, D).
        tokenize: Texts -> tensors of B rows.
        holder: The module that ``network`` is a method of.
        by_length: Whether short texts become shorter tensors, so that texts of like length go together.
    """

    def __init__(
        self,
        network: Encode,
        tokenize: Callable[[list[str]], Sequence[Tensor]],
        holder: nn.Module | None = None,
        *,
        by_length: bool = False,
    ) -> None:
        super().__init__()
        self.network = network
        self.holder = holder
        self.tokenize = tokenize
        self.by_length = by_length

    def prepare(self, column: pa.Array) -> tuple[Tensor, ...]:
        """A column of texts -> the tensors of their tokens."""
        return tuple(self.tokenize(column.to_pylist()))

    def order(self, column: pa.Array) -> np.ndarray | None:
        """By length, where that saves padding."""
        if not self.by_length:
            return super().order(column)
        lengths = [len(text) for text in column.to_pylist()]
        return np.argsort(lengths, kind="stable")

    def forward(self, *tokens: Tensor) -> Tensor:
        """Tensors of tokens -> (B, D)."""
        return self.network(*tokens)


class IdTower(Tower):
    """Encodes token ids that were made before.

    Args:
        network: Encodes ids and their mask, (B, L) int64 each, to (B, D).
        pad_id: The model's id of no token.
    """

    def __init__(self, network: nn.Module, pad_id: int) -> None:
        super().__init__()
        self.network = network
        self.pad_id = pad_id

    def forward(self, values: Tensor) -> Tensor:
        """(B, L) int64, the model's ids plus one, 0 where there is no token -> (B, D)."""
        mask = values > 0
        ids = torch.where(mask, values - 1, self.pad_id)
        embedding: Tensor = self.network(ids, mask.long())
        return embedding


class DualIdTower(Tower):
    """Encodes token ids for a network that reads a text off one of its tokens, counted from either end.

    Tokens that were dropped are closed up.

    Args:
        network: Encodes ids (B, L) int64, and their mask if ``has_mask``, to (B, D).
        pad_id: The model's id of no token.
        length: L; None leaves it as it comes.
        has_mask: Whether the network is told which tokens are real.
    """

    def __init__(
        self, network: nn.Module, pad_id: int, length: int | None, *, has_mask: bool
    ) -> None:
        super().__init__()
        self.network = network
        self.pad_id = pad_id
        self.length = length
        self.has_mask = has_mask

    def forward(self, values: Tensor) -> Tensor:
        """(B, L') int64, the model's ids plus one, 0 where there is no token -> (B, D)."""
        missing = 0 if self.length is None else self.length - values.shape[1]
        values = functional.pad(values, (0, missing))
        values = values.gather(1, (values == 0).long().argsort(dim=1, stable=True))
        mask = values > 0
        ids = torch.where(mask, values - 1, self.pad_id)
        # What is missing altogether is as one token: without any, attention would be over nothing.
        mask = torch.cat([torch.ones_like(mask[:, :1]), mask[:, 1:]], dim=1)
        embedding: Tensor = self.network(ids, mask.long()) if self.has_mask else self.network(ids)
        return embedding


def padded_length(longest: int, limit: int) -> int:
    """The length that tokens are padded to: a power of two, so that a network sees few shapes."""
    return min(limit, max(MIN_TOKENS, 1 << (longest - 1).bit_length()))


def pooled(output: Any) -> Tensor:
    """The embedding in what a library's ``get_..._features`` gives: itself since release 5, a tensor before."""
    features: Tensor = output if isinstance(output, Tensor) else output.pooler_output
    return features
