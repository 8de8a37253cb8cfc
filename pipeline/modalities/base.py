"""What a modality is: a configuration, a codec that works without torch, and networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Protocol

import numpy as np
import pyarrow as pa

from pipeline.errors import SampleError
from pipeline.modalities.facets import Facts, Likeness, ProbeRules, Tokenizing
from pipeline.modalities.section import Section
from pipeline.modalities.shown import MarkedText, Medium, Shown
from pipeline.plugins import KIND, Pluggable

if TYPE_CHECKING:
    from torch import nn

    from pipeline.metrics.columns import ColumnMeasure
    from pipeline.modalities.content import Content
    from pipeline.modalities.facets import CheapFeatures, Corruption, TrainingStatistics
    from pipeline.modalities.inputs import TowerInput
    from pipeline.modalities.rendering.base import Rendering


# Whether members are decoded to their end, so that damage anywhere is seen, or only as far as they are kept.
Verify = Literal["full", "kept"]


class FilterConfig(Section):
    """Limits that leave good members out of a job; None, the default of each of them, is no limit."""

    @property
    def active(self) -> bool:
        """Whether any limit is set."""
        return any(limit is not None for _, limit in self)


class EncoderConfig(Section):
    """Which network a modality is encoded by; a member of the modality's union of encoders.

    Each member has ``kind``, and ``build(modality, width)`` that gives a network: a batch of the codec's values ->
    :class:`pipeline.modalities.layers.Features` of ``width`` channels. Networks are imported where they are built.
    Where it has :meth:`training_statistics`, or its modality has, the network is :class:`Fitted`.
    """

    # Settings of single epochs, in which a model and a training that goes on with it may differ.
    OF_EPOCHS: ClassVar[Mapping[str, bool]] = {}
    kind: str

    @property
    def inputs(self) -> TowerInput | None:
        """What the network wants to be given; None leaves that to the modality's settings."""
        return None

    @property
    def has_own_inputs(self) -> bool:
        """Whether ``inputs`` says something; unlike that, it needs no files of the network."""
        return False

    def decoding(self) -> dict[str, Any]:
        """What decoded rows depend on, ready for JSON."""
        return {}

    def training_statistics(self, modality: ModalityConfig) -> TrainingStatistics | None:
        """Collects, before training, what the network needs to know of the training set; None where that is nothing."""
        return None

    def sealed(self) -> EncoderConfig:
        """As a bundle keeps it: without what is of one machine only."""
        return self

    def identity(self) -> dict[str, Any]:
        """What a model and a configuration must have in common, ready for JSON."""
        return self.model_dump(mode="json")


class Dense(NamedTuple):
    """A column as arrays of one shape, ready for a network.

    Attributes:
        values: (B, ...) in the codec's dtype; zeros where the modality is missing.
        present: (B,) bool, True where the sample has the modality.
    """

    values: np.ndarray
    present: np.ndarray


class Item(NamedTuple):
    """One member that is to be decoded.

    Attributes:
        data: Its bytes.
        field: Its extension, for example ``jpg``.
    """

    data: memoryview
    field: str


class Noted(NamedTuple):
    """A value that is good, although something about its member is odd: the sample is written, and the oddity noted.

    Attributes:
        value: As without the remark.
        reason: A word of :data:`pipeline.sample.NOTES`.
        detail: What is odd, in words, without the member's bytes.
    """

    value: np.ndarray
    reason: str
    detail: str


Decoded = np.ndarray | Noted | SampleError


class Codec(Protocol):
    """Bytes <-> arrays of one modality, on the CPU, without torch. Picklable: Ray ships it to the workers."""

    @property
    def column(self) -> pa.Field:
        """The Arrow field of decoded values, its shape in the field's metadata where it has one."""

    def modules(self, fields: Sequence[str]) -> Sequence[str]:
        """What :meth:`decode` imports late, of members of some extensions: a process that decodes has it beforehand."""

    def decode(self, data: memoryview, field: str) -> np.ndarray:
        """Decodes one member.

        Args:
            data: The member's bytes.
            field: Its extension, for example ``jpg``.

        Raises:
            Absent: The member holds nothing of this modality.
            SampleError: The member cannot be used.
        """

    def empty(self, count: int) -> np.ndarray | None:
        """Room for ``count`` values, not initialised; None where values differ in size."""

    def decode_batch(
        self, items: Sequence[Item], out: Sequence[np.ndarray] | None = None
    ) -> list[Decoded]:
        """Decodes members together, each as :meth:`decode` does; a bad one does not touch its neighbours.

        Args:
            items: The members.
            out: Rows of :meth:`empty`, one an item, that the values are written into; codecs whose values differ in
                size leave it alone.

        Returns:
            For each item its value, with a remark where something about it is odd, or why it has none; its row then
            holds anything.
        """

    def show(self, data: memoryview, field: str) -> str | bytes:
        """What a person reads, sees (PNG) or hears (WAV) of a member; raises SampleError if it cannot be used."""

    def to_arrow(self, values: Sequence[np.ndarray | None]) -> pa.Array:
        """Puts decoded values, None where missing, into a column of :attr:`column`'s type."""

    def collate(self, column: pa.Array) -> Dense:
        """Turns a column of decoded values into arrays of one shape."""


class ModalityConfig(Section, Pluggable):
    """Settings that every modality has.

    Attributes:
        LIMITS: Settings that decide only whether a member is refused, not what it becomes.
        FORMATS: What its members' content may be, by the names of :func:`pipeline.modalities.content.sniff`.
        SHARED_FORMATS: Formats of another modality's members that may hold something of this one as well.
        MEDIUM: How its members are shown to a person.
        IS_CELL_VALUE: Whether cells of a table that is packed hold its members themselves, rather than paths of files.
        REASONS: Words of the quarantine vocabulary that are this modality's own, each with its meaning.
    """

    LIMITS: ClassVar[tuple[str, ...]] = ()
    FORMATS: ClassVar[tuple[str, ...]] = ()
    SHARED_FORMATS: ClassVar[tuple[str, ...]] = ()
    MEDIUM: ClassVar[Medium] = "plot"
    IS_CELL_VALUE: ClassVar[bool] = False
    REASONS: ClassVar[Mapping[str, str]] = {}

    kind: str = KIND
    fields: tuple[str, ...]
    encoder: EncoderConfig
    filter: FilterConfig = FilterConfig()

    def codec(self, tokenizer: str | None, *, verify: Verify = "full") -> Codec:
        """Builds the codec.

        Args:
            tokenizer: The tokenizer's JSON, for modalities that are tokenized.
            verify: How much of a member is decoded where only a part is kept.
        """
        raise TypeError(f"{type(self).__name__} is abstract")

    def check_content(self, data: memoryview, field: str) -> None:
        """Refuses a member that decoding is bound to refuse, as far as that is known without decoding it.

        Args:
            data: The member's bytes.
            field: Its extension.

        Raises:
            SampleError: As decoding does.
        """

    def probe(self, content: Content, field: str, found: str, rules: ProbeRules) -> Facts:
        """What the header of a member tells; nothing unless a modality knows better.

        Args:
            content: The member.
            field: Its extension.
            found: Its format, from :func:`pipeline.modalities.content.sniff`.
            rules: Settings beside the modality's own.
        """
        return Facts()

    def remarks(self) -> Mapping[str, str]:
        """Key of :attr:`Facts.notes` -> what is so, in words that a count of members follows."""
        return {}

    def show_augmented(
        self, codec: Codec, original: np.ndarray, augmented: np.ndarray
    ) -> Shown | MarkedText | None:
        """What a person sees of a value that the augmentation has changed; None where that cannot be shown.

        Args:
            codec: The modality's.
            original: One value as :meth:`Codec.collate` gives it.
            augmented: The same, changed; may be the original itself.
        """
        return None

    def text_encoding(self) -> str:
        """How a text that a person gives becomes a member, by Python's name."""
        return "utf-8"

    def likeness(self) -> Likeness | None:
        """How near copies of its members are found; None where only the same bytes are copies."""
        return None

    def cheap_features(self) -> CheapFeatures | None:
        """What a cheap model sees of it that networks are held against; None where there is no such model."""
        return None

    def corruptions(self, codec: Codec) -> Mapping[str, Corruption]:
        """Name -> how values of its codec are made worse, to see what a model stands; empty where no way is known."""
        return {}

    def rendering(self, tokenizer: str | None) -> Rendering | None:
        """How networks make values of it; None where none can. Without the tokenizer's JSON, tokens stay numbers."""
        return None

    def measure(self) -> ColumnMeasure | None:
        """What is measured of its decoded values; None counts only how many there are."""
        return None

    def tokenizing(self) -> Tokenizing | None:
        """What it asks of the run's tokenizer; None where it is not tokenized."""
        return None

    @classmethod
    def required(cls) -> set[str]:
        """Settings that have no default."""
        return {name for name, setting in cls.model_fields.items() if setting.is_required()}

    @classmethod
    def is_in(cls, member: memoryview) -> bool:
        """Whether a whole file of its formats, or of the shared ones, holds something of it, as far as headers tell."""
        return True

    @classmethod
    def suited_to(cls, members: Sequence[memoryview]) -> dict[str, Any]:
        """Settings that fit some members, by their headers; empty where the defaults do.

        Args:
            members: Whole files of this modality.
        """
        return {}

    def build_encoder(self, width: int) -> nn.Module:
        """Builds the network that turns a batch of values into features of ``width``."""
        raise TypeError(f"{type(self).__name__} is abstract")

    def training_statistics(self) -> TrainingStatistics | None:
        """Collects, before training, what the encoder needs to know of the training set; None where that is nothing."""
        return self.encoder.training_statistics(self)

    def augmentation(self) -> Any:
        """Builds the training-time augmentation: a callable ``(values, chance) -> values``."""
        raise TypeError(f"{type(self).__name__} is abstract")
