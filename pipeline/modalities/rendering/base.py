"""What a modality says of values that networks make of it. Imports no torch: predictions are written without it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

import numpy as np
import pyarrow as pa

from pipeline.modalities.shown import Shown

if TYPE_CHECKING:
    from torch import Tensor

    from pipeline.modalities.chance import Chance

GENERATED = "generated_"

LikelihoodName = Literal["bernoulli", "gaussian", "laplace", "categorical"]


def generated(name: str) -> str:
    """The column of what a network has made of a modality, or of the label: ``generated_image``."""
    return f"{GENERATED}{name}"


class Prepared(NamedTuple):
    """Values as networks model them.

    Attributes:
        values: float32 (B, *shape), int64 where they are symbols; finite, also where a sample lacks the modality.
        real: bool (B, *shape), False where a value is missing within a sample; None where none is.
    """

    values: Tensor
    real: Tensor | None = None


class Renderer(Protocol):
    """The network of a :class:`Rendering`, an ``nn.Module``: a latent -> values of the modality."""

    def prepare(self, values: Tensor) -> Prepared:
        """The codec's values, (B, ...) as its ``collate`` gives them -> what networks model."""

    def __call__(self, latent: Tensor) -> Tensor:
        """Decodes latents.

        Args:
            latent: float (B, D).

        Returns:
            float (B, *shape), one number a value, unbounded: where values lie in 0..1 it is their logit. Of symbols
            (B, *shape, K), a logit for each of them.
        """

    def finish(self, values: Tensor, chance: Chance) -> Tensor:
        """What is written of values.

        Args:
            values: (B, *shape) as of :meth:`prepare`; what is out of range is cut.
            chance: Of the samples, for what must be made up.

        Returns:
            float32 (B, ...), for :meth:`Rendering.encode`.
        """

    def fit(self, statistics: Any) -> None:
        """Takes over what training knows of the training set's values, into buffers; see :class:`.facets.Fitted`."""


class Rendering(Protocol):
    """How values of a modality are made.

    Attributes:
        shape: Of a value as networks model it: (3, H, W) of an image, (1, F, N) of a spectrogram, (L,) symbols.
        bounded: Whether all numbers lie in 0..1.
        symbols: K, where values are numbers of symbols; None where they are numbers.
        likelihood: What suits the values.
        type: Of the column.
    """

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def bounded(self) -> bool: ...

    @property
    def symbols(self) -> int | None: ...

    @property
    def likelihood(self) -> LikelihoodName: ...

    @property
    def type(self) -> pa.DataType: ...

    def build(self, width: int) -> Renderer:
        """Builds the network for latents of ``width`` numbers; 0 builds none, where values are no symbols."""

    def encode(self, values: np.ndarray) -> pa.Array:
        """A column of what :meth:`Renderer.finish` made: PNG, WAV, strings, or lists of numbers.

        Args:
            values: float32 (B, ...).
        """

    def member(self, cell: Any) -> tuple[bytes, str]:
        """A cell of that column as a member of a sample, which codecs of the modality read: its bytes and extension."""

    def show(self, cell: Any) -> Shown:
        """What a person sees of a cell."""
