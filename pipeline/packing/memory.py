"""What a set of shards was made from: a small file beside them, so that no other source replaces them unasked."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path

from pipeline import storage
from pipeline.errors import ConfigError
from pipeline.packing.config import PackConfig
from pipeline.packing.entries import Entry, Rejected
from pipeline.runs import differences
from pipeline.shards.writing.writer import set_shards

# Settings that say where the shards go, not what is in them.
_NOT_REMEMBERED = frozenset({"output", "name", "overwrite"})


@dataclass(frozen=True)
class Memory:
    """What a set was made from.

    Attributes:
        settings: Those of packing that decide what is in the shards.
        source: Digest of the source's files, by their names, sizes and times.
        reading: Digest of how the other jobs read fields.
        is_complete: Whether all shards were in place when this was written.
        shards: Shard -> bytes.
        report: What was packed, as the job told it.
    """

    settings: dict[str, object]
    source: str
    reading: str
    is_complete: bool
    shards: dict[str, int]
    report: dict[str, object]

    def write(self, config: PackConfig) -> None:
        """Writes it beside the shards."""
        text = json.dumps(asdict(self), indent=1, ensure_ascii=False)
        storage.write_bytes(str(_place(config)), text.encode() + b"\n")

    def is_of(self, config: PackConfig, source: str, reading: str) -> bool:
        """Whether the set is whole, and would come out the same again."""
        return (
            self.is_complete
            and (self.source, self.reading) == (source, reading)
            and self.settings == settings_of(config)
            and {path.name: path.stat().st_size for path in _shards(config)} == self.shards
        )


def recall(config: PackConfig) -> Memory | None:
    """What the set was made from that lies at the output; None where there is none, or it may be replaced.

    Raises:
        ConfigError: The output holds shards of this name that were made from another source, with other settings, or by
            who knows what, and ``overwrite`` is not set.
    """
    memory = _read(_place(config))
    shards = _shards(config)
    if config.overwrite or not shards:
        return memory
    if memory is None:
        difference = "nothing beside them tells what they were made from"
    else:
        defaults = {
            name: field.get_default(call_default_factory=True)
            for name, field in PackConfig.model_fields.items()
            if name not in _NOT_REMEMBERED and not field.is_required()
        }
        before = json.loads(json.dumps(defaults | memory.settings))
        difference = "; ".join(differences(before, settings_of(config), "pack."))
        if not difference:
            return memory
    raise ConfigError(
        f"the output holds shards named {config.name}, which packing would replace: {difference}",
        where=f"{config.output}: {shards[0].name}"
        + (f" and {len(shards) - 1} more" if len(shards) > 1 else ""),
        fix="choose another pack.output or pack.name, or set pack.overwrite=true to replace them",
    )


def settings_of(config: PackConfig) -> dict[str, object]:
    """The settings that decide what is in the shards, ready for JSON; the source as a full path."""
    settings = config.model_dump(mode="json", exclude=set(_NOT_REMEMBERED))
    return settings | {"source": str(Path(config.source).resolve())}


def source_digest(source: Path, entries: Iterable[Entry], rejected: Iterable[Rejected]) -> str:
    """Digest of a source by its files' names, sizes and times; no content is read.

    Args:
        source: The folder or table.
        entries: Its samples.
        rejected: What of it is none.
    """
    digest = blake2b(digest_size=16)
    if source.is_file():
        digest.update(_facts(source).encode())
    for entry in entries:
        digest.update(f"\0{entry.key}\0{entry.group}\0{entry.split}".encode())
        for name, content in entry.fields.items():
            state = _facts(content) if isinstance(content, Path) else str(len(content))
            digest.update(f"\0{name}\0{state}".encode("utf-8", "surrogateescape"))
    for row in rejected:
        digest.update(f"\0{row.origin}\0{row.reason}".encode())
    return digest.hexdigest()


def _facts(path: Path) -> str:
    try:
        info = path.stat()
    except OSError:
        return f"{path} gone"
    return f"{path} {info.st_size} {info.st_mtime_ns}"


def _place(config: PackConfig) -> Path:
    return Path(config.output).absolute() / f"{config.name}.pack.json"


def _shards(config: PackConfig) -> list[Path]:
    return set_shards(Path(config.output), config.name)


def _read(path: Path) -> Memory | None:
    try:
        return Memory(**json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError):
        # None, or one of another version: then nobody knows.
        return None
