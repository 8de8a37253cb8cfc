"""The modalities: the union of their sections, and the part of the configuration that names them.

To add one: write ``NAME/`` beside this file and list its section in the union.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, get_args

from pydantic import (
    ConfigDict,
    Field,
    RootModel,
    SerializationInfo,
    SerializeAsAny,
    SerializerFunctionWrapHandler,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_serializer,
    model_validator,
)

from pipeline.errors import SampleError
from pipeline.metrics.columns import ColumnMeasure
from pipeline.modalities.audio import AudioConfig
from pipeline.modalities.base import ModalityConfig
from pipeline.modalities.facets import Tokenizing
from pipeline.modalities.image import ImageConfig
from pipeline.modalities.shown import Medium
from pipeline.modalities.text import TextConfig
from pipeline.modalities.vector import VectorConfig
from pipeline.modalities.video import VideoConfig
from pipeline.plugins import Plugin, settings_of
from pipeline.sample import BASE_SCHEMA


class _PythonModality(Plugin):
    """A modality of your own, by its class; see [your own models](own-models.md)."""

    CONTRACT = ModalityConfig
    NOUN = "a modality"


if TYPE_CHECKING:
    PythonModality = ModalityConfig  # what validation makes of it
else:
    PythonModality = _PythonModality


def _as_it_is(section: object, handler: ValidatorFunctionWrapHandler) -> Any:
    return section if isinstance(section, ModalityConfig) else handler(section)


AnyModality = Annotated[
    ImageConfig | TextConfig | AudioConfig | VectorConfig | VideoConfig | PythonModality,
    Field(discriminator="kind"),
    WrapValidator(_as_it_is),
    SerializeAsAny(),
]

# A modality's name is a column's name, and a part of the names of others: left, left_present, left_embedding.
NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
RESERVED = frozenset((*BASE_SCHEMA.names, "embedding"))
RESERVED_ENDS = ("_present", "_embedding")

# What of its encoders a description of modalities tells.
EncoderView = Literal["inputs", "identity", "sealed"]


def kinds() -> Mapping[str, type[ModalityConfig]]:
    """Kind -> its section, of those of this project, in the union's order."""
    members = get_args(get_args(AnyModality)[0])
    return {
        member.model_fields["kind"].default: member
        for member in members
        if issubclass(member, ModalityConfig)
    }


class ModalitiesConfig(RootModel[dict[str, AnyModality | None]]):
    """Which modalities a job reads, by the names that their columns have. A sample may lack any of them.

    A section's ``kind`` is its name unless given. None leaves a modality out, as if it were not named.
    """

    model_config = ConfigDict(frozen=True)

    @classmethod
    def of_every_kind(cls) -> ModalitiesConfig:
        """One modality of each kind that needs no setting, with the defaults."""
        return cls.model_validate(
            {kind: {} for kind, section in kinds().items() if not section.required()}
        )

    @model_validator(mode="before")
    @classmethod
    def _kind_by_name(cls, tree: object) -> Any:
        if not isinstance(tree, Mapping):
            return tree
        sections = {}
        for name, section in tree.items():
            is_short = isinstance(section, Mapping) and "kind" not in section and name in kinds()
            sections[name] = {"kind": name, **section} if is_short else section
        return sections

    @model_validator(mode="after")
    def _usable(self) -> ModalitiesConfig:
        configs = self.by_name()
        if not configs:
            raise ValueError(f"name at least one of {', '.join(kinds())}")
        for name in configs:
            if not NAME.fullmatch(name):
                raise ValueError(
                    f"{name!r} cannot name a modality, which names columns: use a-z, 0-9 and single _, "
                    f"and begin with a letter"
                )
            if name in RESERVED or name.endswith(RESERVED_ENDS):
                raise ValueError(
                    f"{name!r} is the name of another column: call the modality otherwise"
                )
        readers: dict[tuple[type[ModalityConfig], str], str] = {}
        for name, config in configs.items():
            for field in config.fields:
                reader = readers.setdefault((type(config), field), name)
                if reader != name:
                    raise ValueError(
                        f"{reader} and {name} both read {field}: set {name}.fields to its own fields"
                    )
        tokenizers = {name: spec.asks for name, spec in self.tokenized().items()}
        if len(set(tokenizers.values())) > 1:
            settings = " and ".join(f"{name}.{setting}" for name, setting in tokenizers.items())
            raise ValueError(f"a run has one tokenizer, and {settings} ask for different ones")
        return self

    @model_serializer(mode="wrap")
    def _kind_where_it_differs(
        self, handler: SerializerFunctionWrapHandler, info: SerializationInfo
    ) -> dict[str, Any]:
        """Sections as a person writes them: without a kind that is the name, which earlier versions did not have."""
        tree: dict[str, Any] = handler(self)
        sections: dict[str, Any] = {}
        for name, section in tree.items():
            if section is None:
                sections |= {} if info.exclude_none else {name: None}
                continue
            keeps_kind = section.get("kind") != name
            sections[name] = {
                key: value for key, value in section.items() if key != "kind" or keeps_kind
            }
        return sections

    def decoding(
        self, *, exclude_none: bool = True, filters: bool = True, encoders: EncoderView = "inputs"
    ) -> dict[str, Any]:
        """The settings that decoded rows depend on, ready for JSON: not the augmentation, the limits and the encoder.

        A limit decides only whether a sample is refused; one that is raised leaves what is decoded as it was. A filter
        that is off is left out, so that what was made before there were filters is still recognised.

        Args:
            exclude_none: Leaves out what is None; else a modality that is named and left out is told as None.
            filters: Whether filters that are on are told. They say which rows there are, not what their values are:
                a model takes samples that its training left out.
            encoders: What is told of encoders: the ``inputs`` that they ask for, their ``identity``, or, of those other
                than a modality's default, all of it, ``sealed``.
        """
        settings: dict[str, Any] = self.model_dump(mode="json", exclude_none=exclude_none)
        for name, config in self.by_name().items():
            section = settings_of(settings[name])
            for setting in ("augment", *config.LIMITS):
                section.pop(setting, None)
            if not (filters and config.filter.active):
                section.pop("filter")
            section.pop("encoder")
            if encoders == "inputs":
                section |= config.encoder.decoding()
            elif encoders == "identity":
                section["encoder"] = config.encoder.identity()
            elif config.encoder != type(config).model_fields["encoder"].default:
                encoder = config.encoder.sealed()
                section["encoder"] = encoder.model_dump(mode="json", exclude=encoder.OF_EPOCHS)
        return settings

    def for_job(self, other: ModalitiesConfig) -> ModalitiesConfig:
        """These modalities with the limits and filters of others: a model's preprocessing, a job's choice of samples.

        A model may meet larger files than it was trained on, and ones that its training left out.
        """
        theirs = other.by_name()
        return self.replaced(
            {
                name: config.model_copy(
                    update={key: getattr(theirs[name], key) for key in (*config.LIMITS, "filter")}
                )
                for name, config in self.by_name().items()
                if name in theirs and type(theirs[name]) is type(config)
            }
        )

    def unfiltered(self) -> ModalitiesConfig:
        """These without the filters that leave good samples out of jobs: whoever asks for one sample means it."""
        return self.replaced(
            {
                name: config.model_copy(update={"filter": type(config.filter)()})
                for name, config in self.by_name().items()
            }
        )

    def with_encoders(self, other: ModalitiesConfig) -> ModalitiesConfig:
        """These with the encoders of a model, where they are the same: it knows them without their files."""
        theirs = other.by_name()
        return self.replaced(
            {
                name: config.model_copy(update={"encoder": theirs[name].encoder})
                for name, config in self.by_name().items()
                if name in theirs and theirs[name].encoder.identity() == config.encoder.identity()
            }
        )

    def for_showing(self) -> ModalitiesConfig:
        """These as any sample can be shown: without filters, and with the encoders that need no files."""
        unfiltered = self.unfiltered()
        return unfiltered.replaced(
            {
                name: config.model_copy(
                    update={"encoder": type(config).model_fields["encoder"].default}
                )
                for name, config in unfiltered.by_name().items()
            }
        )

    def for_samples(self, count: int | None, made: Self | None = None) -> ModalitiesConfig:
        """These as they suit a training split of so many samples; see :meth:`Section.for_samples`."""
        made_by_name = {} if made is None else made.by_name()
        pairs = [(name, config, made_by_name.get(name)) for name, config in self.by_name().items()]
        return self.replaced({name: config.for_samples(count, its) for name, config, its in pairs})

    def replaced(self, sections: Mapping[str, ModalityConfig]) -> ModalitiesConfig:
        """These with other sections for some of the names."""
        return self.model_copy(update={"root": {**self.root, **sections}})

    def only(self, names: Sequence[str]) -> ModalitiesConfig:
        """Those of some names."""
        return self.model_copy(update={"root": {name: self.root[name] for name in names}})

    def by_name(self) -> Mapping[str, ModalityConfig]:
        """The configured modalities, by the union's order of kinds, then by name; other kinds last."""
        order = {kind: place for place, kind in enumerate(kinds())}
        sections = [(name, config) for name, config in self.root.items() if config is not None]
        return dict(
            sorted(sections, key=lambda item: (order.get(item[1].kind, len(order)), item[0]))
        )

    def kinds(self) -> Mapping[str, str]:
        """Name -> kind, in the order of :meth:`by_name`."""
        return {name: config.kind for name, config in self.by_name().items()}

    def is_value(self, name: str) -> bool:
        """Whether what a person gives of a modality is a member itself, rather than a file's path."""
        config = self.by_name().get(name)
        return config is not None and config.IS_CELL_VALUE

    def media(self) -> Mapping[str, Medium]:
        """Name -> how its members are shown."""
        return {name: config.MEDIUM for name, config in self.by_name().items()}

    def measures(self) -> Mapping[str, ColumnMeasure | None]:
        """Name -> what is measured of its column."""
        return {name: config.measure() for name, config in self.by_name().items()}

    def name_for(self, kind: str) -> str:
        """What the configuration calls the first modality of a kind; the kind where it has none."""
        return next((name for name, its in self.kinds().items() if its == kind), kind)

    def training_texts(self, members: Mapping[str, memoryview]) -> Iterator[str]:
        """The texts of a sample that the tokenizer is trained on; those that decoding will quarantine are passed over.

        Args:
            members: Extension -> bytes.
        """
        configs = self.by_name()
        for name, spec in self.tokenized().items():
            field = next((field for field in configs[name].fields if field in members), None)
            if field is not None:
                with contextlib.suppress(SampleError):
                    yield spec.read(members[field], field)

    def text_fields(self) -> frozenset[str]:
        """The fields that :meth:`training_texts` looks for."""
        configs = self.by_name()
        return frozenset(field for name in self.tokenized() for field in configs[name].fields)

    def tokenized(self) -> Mapping[str, Tokenizing]:
        """Name -> what its texts ask of the run's tokenizer, of those that are tokenized."""
        return {
            name: spec for name, config in self.by_name().items() if (spec := config.tokenizing())
        }
