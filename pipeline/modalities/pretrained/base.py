"""What is known of a pretrained encoder before its network is built; torch-free."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from difflib import get_close_matches
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa

from pipeline import storage
from pipeline.errors import ConfigError, ModelError
from pipeline.modalities.inputs import Input, TowerInput

if TYPE_CHECKING:
    from pipeline.modalities import ModalitiesConfig
    from pipeline.modalities.base import Codec, Verify
    from pipeline.modalities.pretrained.towers import Tower

EMBEDDING = "embedding"
PICKED = (".json", ".safetensors", ".bin", ".pt", ".pth", ".txt", ".model")  # of a model's folder
CHUNK_BYTES = 1 << 24


@dataclass(frozen=True)
class TowerDescription:
    """What builds one modality's network of a pretrained encoder without its files; a bundle holds it.

    Attributes:
        inputs: How the modality is made ready for it.
        width: Channels of an embedding (D).
        digest: Of the files that its weights came from.
        architecture: What its library builds it from, JSON; empty where its name says all.
    """

    inputs: TowerInput
    width: int
    digest: str
    architecture: str = ""


@dataclass(frozen=True)
class EncoderDescription:
    """A pretrained encoder; picklable.

    Attributes:
        model: ``KIND:NAME``.
        weights: File or folder of the weights.
        inputs: Modality -> how it is decoded for the network; by kind until a job has given its own names.
        width: Channels of an embedding (D).
        shared: Whether the modalities share one space, so that an image may be near a text.
        digest: Of the weights and whatever lies beside them.
        num_bytes: Size of the weights' files.
        kinds: Modality -> its kind; empty where the modalities are named by their kinds.
    """

    model: str
    weights: str
    inputs: Mapping[str, Input]
    width: int
    shared: bool
    digest: str
    num_bytes: int
    kinds: Mapping[str, str] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """Digest of everything that embeddings depend on: the weights' content, and the preprocessing."""
        inputs = {name: asdict(input) for name, input in self.inputs.items()}
        identity = {
            "model": self._named(),
            "inputs": inputs,
            "width": self.width,
            "files": self.digest,
        }
        text = json.dumps(identity, sort_keys=True)
        return blake2b(text.encode(), digest_size=16).hexdigest()

    def _named(self) -> str:
        """The name, but not where a folder lies: the same files elsewhere are the same model."""
        return "hf" if self.model.startswith("hf:") else self.model

    def for_job(self, configured: Mapping[str, str]) -> EncoderDescription:
        """The encoder for the modalities of a job that it has a network for, by the names that they have there.

        Several of one kind go through one network, and so share a space.

        Args:
            configured: Name -> kind.

        Raises:
            ConfigError: There are none.
        """
        kind_of = self.kinds or {kind: kind for kind in self.inputs}
        input_of = {kind: self.inputs[name] for name, kind in kind_of.items()}
        kinds = {name: kind for kind in input_of for name, its in configured.items() if its == kind}
        if not kinds:
            raise ConfigError(
                f"{self.model} takes {' and '.join(self.inputs)}, and the configuration has "
                f"{' and '.join(configured)}",
                where="infer.model",
                fix=f"add modalities.{next(iter(self.inputs))}: {{}}",
            )
        inputs = {name: input_of[kind] for name, kind in kinds.items()}
        return replace(self, inputs=inputs, kinds=kinds, shared=self.shared or len(inputs) > 1)

    def by_kind(self) -> EncoderDescription:
        """With the inputs by kind, as a library builds their networks."""
        inputs = {kind: self.inputs[name] for name, kind in self.kinds.items()} or self.inputs
        return replace(self, inputs=inputs, kinds={})

    def codecs(self, modalities: ModalitiesConfig, verify: Verify = "full") -> dict[str, Codec]:
        """Modality -> what decodes it."""
        configs = modalities.by_name()
        return {name: way.codec(configs[name], verify=verify) for name, way in self.inputs.items()}

    def fields(self, *, float16: bool) -> list[pa.Field]:
        """The columns that it adds to the output: ``embedding``, and one a modality where they share a space."""
        kind = pa.list_(pa.float16() if float16 else pa.float32(), self.width)
        names = [f"{name}_{EMBEDDING}" for name in self.inputs] if self.shared else []
        return [pa.field(name, kind) for name in (EMBEDDING, *names)]


class Library(Protocol):
    """What builds the networks of one kind of pretrained encoder; a module, or an object."""

    def describe(self, name: str, weights: str, /) -> EncoderDescription:
        """What an encoder takes and gives, without its weights in memory."""

    def load(self, name: str, encoder: EncoderDescription, /) -> dict[str, Tower]:
        """Kind of modality -> its network, for those of the encoder's inputs."""

    def describe_tower(
        self, name: str, encoder: EncoderDescription, modality: str, /
    ) -> TowerDescription | None:
        """What a model must know of one modality's network; None where there is none."""

    def build_tower(
        self, name: str, modality: str, described: TowerDescription, weights: str | None, /
    ) -> Tower:
        """One modality's network, without weights where none are named, and with nothing of the others."""

    def tokenizer_of(self, name: str, weights: str | None, /) -> str:
        """The tokenizer of its texts, JSON of a ``tokenizers.Tokenizer``."""


def unknown_name(what: str, name: str, names: Sequence[str], listing: str) -> ConfigError:
    """The fault of a name that a library does not know.

    Args:
        what: What there is not: ``timm has no model NAME``.
        name: The name, as it is compared.
        names: Those that there are.
        listing: What lists them, for a person.
    """
    near = get_close_matches(name, names, n=1)
    fix = f"did you mean {near[0]}?" if near else f"see {listing}"
    return ConfigError(what, where="infer.model", fix=fix)


def local_file(location: str, setting: str) -> Path:
    """The path of a file or folder that must be there.

    Args:
        location: The file or folder.
        setting: Where it is named, for the error: what stands before it, as ``infer.weights=``.

    Raises:
        ModelError: It is not there, or not on this machine.
    """
    if not storage.is_local(location):
        raise ModelError(
            "weights are read from local files only",
            where=f"{setting}{location}",
            fix="copy them to a path that every machine of the cluster sees",
        )
    path = storage.local_path(location)
    if not path.exists():
        raise ModelError(
            "there are no weights, and nothing is downloaded",
            where=f"{setting}{location}",
            fix="put the model's files there, or set another path",
        )
    return path


def digest_of(path: Path, picked: Sequence[str] | None = PICKED) -> tuple[str, int]:
    """Digest of the content of a file, or of the files of a folder by their names, and their size in bytes.

    Args:
        path: The file or folder.
        picked: Ends of the names of a folder's files that count; None takes all.
    """
    digest = blake2b(digest_size=16)
    size = 0
    for source in _files(path, picked):
        name = source.relative_to(path).as_posix() if path.is_dir() else ""
        digest.update(f"{name}\0{source.stat().st_size}\0".encode())
        with source.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                digest.update(chunk)
                size += len(chunk)
    return digest.hexdigest(), size


def _files(path: Path, picked: Sequence[str] | None) -> list[Path]:
    if path.is_file():
        return [path]
    files = (file for file in path.rglob("*") if file.is_file())
    weights = (file for file in files if picked is None or file.suffix in picked)
    hidden = (
        file for file in weights if not any(p.startswith(".") for p in file.relative_to(path).parts)
    )
    return sorted(hidden)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object beside the weights, empty where there is no such file.

    Raises:
        ModelError: It is damaged.
    """
    content: dict[str, Any] = _read_json(path, {})
    return content


def read_list(path: Path) -> list[dict[str, Any]]:
    """A JSON list of objects beside the weights, empty where there is no such file.

    Raises:
        ModelError: It is damaged.
    """
    items: list[dict[str, Any]] = _read_json(path, [])
    if not all(isinstance(item, dict) for item in items):
        raise ModelError("not a list of objects", where=str(path), fix="copy the model again")
    return items


def _read_json(path: Path, empty: object) -> Any:
    if not path.is_file():
        return empty
    try:
        content = json.loads(path.read_text("utf-8"))
        if not isinstance(content, type(empty)):
            raise ValueError(f"a {type(content).__name__}, and no {type(empty).__name__}")
    except ValueError as error:
        raise ModelError(
            f"not the JSON it should be: {error}", where=str(path), fix="copy the model again"
        ) from None
    return content
