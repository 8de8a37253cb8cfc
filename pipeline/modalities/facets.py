"""What a modality may say of itself beside its codec and its networks, each where it makes sense."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa

from pipeline.errors import SampleError

if TYPE_CHECKING:
    from torch import Tensor

    from pipeline.modalities.base import Codec, Verify
    from pipeline.modalities.chance import Chance
    from pipeline.modalities.shown import InTime


class TrainingStatistics(Protocol):
    """Finds out, before training, what an encoder needs to know of the training set's values."""

    def add(self, column: pa.Array) -> None:
        """Adds a column of decoded values; nulls do not count."""

    def result(self) -> Mapping[str, Any]:
        """What was found, ready for JSON; the encoder takes it over, see :class:`Fitted`."""


class Fitted(Protocol):
    """An encoder that needs to know of the training set's values."""

    def fit(self, statistics: Mapping[str, object]) -> None:
        """Takes over the result of :class:`TrainingStatistics` into buffers, which travel with the weights."""


@runtime_checkable
class KeepsFeatures(Protocol):
    """The configuration of an encoder whose network may be a :class:`Frozen`."""

    @property
    def keeps_features(self) -> bool:
        """Whether it is one, and training keeps what it makes of samples as they are."""


class Frozen(Protocol):
    """An encoder whose network is wholly frozen: what it makes of a sample is the same in every epoch.

    Attributes:
        takes_embeddings: Whether it is called with what :meth:`embed` gave, in place of the codec's values.
        embedding_width: D'.
    """

    takes_embeddings: bool
    embedding_width: int

    def embed(self, values: Tensor) -> Tensor:
        """Runs the frozen network: the codec's values (B, ...) -> float (B, D')."""


class Timing(NamedTuple):
    """When an encoder's tokens are.

    Attributes:
        seconds: From the beginning of one token to that of the next; the first begins with the value.
        tokens: Most of a value, the longest there is.
    """

    seconds: float
    tokens: int


@runtime_checkable
class Timed(Protocol):
    """The configuration of an encoder whose tokens follow one another in time, up to the end of what there is."""

    def timing(self, modality: Any) -> Timing:
        """When its tokens are, under the settings of its modality."""

    def ends(self, modality: Any, values: np.ndarray) -> np.ndarray:
        """Where values end, behind which they are padded: seconds from their beginning, float64 (B,).

        Args:
            modality: The settings of its modality.
            values: (B, ...), as the codec gives them.
        """


@runtime_checkable
class ShowsTime(Protocol):
    """A codec whose members have a picture along their time."""

    def in_time(self, shown: str | bytes) -> InTime:
        """The picture of a member, from what :meth:`pipeline.modalities.base.Codec.show` gave of it."""


@dataclass(frozen=True)
class ProbeRules:
    """Settings beside a modality's own that a look at a member keeps to.

    Attributes:
        read_bytes: Members up to this size are read whole where there is no header; larger ones are passed over.
        verify: How much of a member decoding will look at.
    """

    read_bytes: int
    verify: Verify


@dataclass(frozen=True)
class Facts:
    """What the header of a member tells without decoding it.

    Attributes:
        ranges: Name -> number, of which a distribution is kept: ``width``, ``seconds``.
        values: Name -> one of few values, which are counted: ``channels``.
        notes: Keys of :meth:`ModalityConfig.remarks` that hold for it.
        fault: Why decoding is bound to fail, or what it will note.
        is_absent: Whether the member holds nothing of the modality, as a film without a sound track no sound.
    """

    ranges: Mapping[str, float] = field(default_factory=dict)
    values: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    fault: SampleError | None = None
    is_absent: bool = False


class Comparison(Protocol):
    """Signatures of many members, and which are alike."""

    def tables(self) -> Iterator[np.ndarray]:
        """Keys, (N,) unsigned each: members that share one are worth comparing."""

    def alike(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Whether members at two places are alike: (P,) places each -> (P,) bool."""


class Likeness(Protocol):
    """How near copies of a modality's members are found. Picklable: it signs where members are decoded."""

    @property
    def num_bytes(self) -> int:
        """Bytes of a signature (W)."""

    @property
    def setting(self) -> str:
        """The setting of ``cleaning`` that says how near is near."""

    def sign(self, codec: Codec, data: memoryview, field: str) -> np.ndarray:
        """The signature of one member, (W,) uint8.

        Raises:
            SampleError: The member cannot be used.
        """

    def compare(self, rows: np.ndarray, nearness: float) -> Comparison:
        """The comparison of signatures, (N, W) uint8; ``nearness`` is the value of the setting."""


@dataclass(frozen=True)
class Tokenizing:
    """What a modality asks of the run's tokenizer, which all texts of a run share.

    Attributes:
        asks: The setting that says which, the same for all texts of a run: ``vocab_size=2048``.
        read: (data, extension) -> the text that it is trained on; raises SampleError.
        train: Texts -> the tokenizer as JSON.
        ready: The tokenizer of a network from elsewhere, which is taken in place of training one; None trains it.
    """

    asks: str
    read: Callable[[memoryview, str], str]
    train: Callable[[Iterable[str]], str]
    ready: Callable[[], str] | None = None


@dataclass(frozen=True)
class CheapFeatures:
    """What a cheap model, which networks are held against, sees of a modality. Picklable: it goes to other processes.

    Attributes:
        name: Of the features, in words: ``character n-grams``.
        codec: How members are decoded for it, whatever the networks want.
        extract: B values as the codec collates them -> what is kept of each: (B, F) float32, or (B,) texts.
        vectorizer: Makes a transformer with ``fit_transform`` and ``transform``, as scikit-learn has them, from those
            to features.
        family: Of models that suit them.
        inverse_penalty: Of a linear model, C in scikit-learn: the larger, the freer.
    """

    name: str
    codec: Codec
    extract: Callable[[np.ndarray], np.ndarray]
    vectorizer: Callable[[], Any]
    family: Literal["linear", "forest"] = "linear"
    inverse_penalty: float = 1.0


@dataclass(frozen=True)
class Corruption:
    """One way in which values get worse, so that it can be told how much of that a model stands.

    Attributes:
        unit: What a severity is, for an axis: ``share of the area``.
        severities: From the mildest to the worst.
        change: (B values as the codec collates them, severity, chance of the samples) -> the same shape and dtype. It
            draws the same numbers at every severity, so that a sample gets worse step by step.
    """

    unit: str
    severities: tuple[float, ...]
    change: Callable[[Tensor, float, Chance], Tensor]
