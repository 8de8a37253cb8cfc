"""Where the samples of a starter configuration come from: shards, or a folder or table that is still to be packed."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipeline import storage
from pipeline.errors import ConfigError
from pipeline.inspection.survey import read_samples
from pipeline.limits import Limits
from pipeline.modalities.content import EXTENSIONS, SNIFFED_BYTES, sniff
from pipeline.packing.config import DEFAULT_SPLIT, PackConfig
from pipeline.packing.entries import Entry
from pipeline.packing.reading import Reading
from pipeline.packing.source import read_source
from pipeline.packing.tables.cells import content_of, is_media, names_file, text_of
from pipeline.packing.tables.table import TABLE_SUFFIXES, column_names, read_table
from pipeline.sections import SPLITS
from pipeline.shards.planning.plan import Part, Shard, expand, shard_fingerprint
from pipeline.starter.look import LABEL_NAMES, is_bookkeeping, is_label, split_called

LOOKED_AT = 200  # samples
LABEL = "cls"  # the field of a table's labels
TABLE_ROWS = 2_000  # of which columns are told
_WORDS = re.compile(r"[a-z]+")


@dataclass(frozen=True)
class Start:
    """A source, as far as a configuration needs it.

    Attributes:
        name: For the run and the shards.
        inputs: Split -> pattern of shards.
        samples: The first samples, field -> content.
        pack: The section ``pack`` that makes the shards; empty where they are there.
        notes: What was guessed, in sentences.
    """

    name: str
    inputs: Mapping[str, str]
    samples: Iterator[Mapping[str, memoryview]]
    pack: Mapping[str, object] = field(default_factory=dict)
    notes: Sequence[str] = ()


def find(source: str, data: str) -> Start:
    """Finds out what a source is.

    Args:
        source: Shards (a file, a folder, a pattern), or a local folder of files or a table.
        data: Folder that shards are packed into.

    Raises:
        ConfigError: It is none of these, or holds nothing.
    """
    path = storage.local_path(source) if storage.is_local(source) else None
    if path is not None and path.is_file() and path.suffix.lower() in TABLE_SUFFIXES:
        return _table(path, data)
    try:
        return _shards(source, expand(source, where="SOURCE"))
    except ConfigError:
        if path is None or not path.is_dir():
            raise
    return _folder(path, data)


def _shards(source: str, shards: Sequence[Shard]) -> Start:
    by_split: dict[str, list[Shard]] = {}
    for shard in shards:
        splits = map(split_called, _WORDS.findall(shard.name.lower()))
        split = next(filter(None, splits), "train")
        by_split.setdefault(split, []).append(shard)
    notes = []
    if set(by_split) == {"train"}:
        notes.append("no shard's name says of which split it is: all are input.train")
    inputs = {split: _pattern(by_split[split]) for split in SPLITS if split in by_split}
    name = re.split(r"[-_.]?(?:train|val|test|\d|\.)", shards[0].name.rpartition("/")[2])[0]
    first = by_split.get("train") or shards
    return Start(name or "data", inputs, _first_samples(first), notes=notes)


def _pattern(shards: Sequence[Shard]) -> str:
    """A glob for shards whose names differ in their last number only; else a list in braces."""
    globs = {re.sub(r"\d+(?=\D*$)", "*", shard.url) for shard in shards}
    if len(shards) > 1 and len(globs) == 1:
        return globs.pop()
    if len(shards) == 1:
        return shards[0].url
    folder = shards[0].url.rpartition("/")[0]
    return f"{folder}/{{{','.join(shard.url.removeprefix(f'{folder}/') for shard in shards)}}}"


def _first_samples(shards: Sequence[Shard]) -> Iterator[Mapping[str, memoryview]]:
    parts = (Part(shard.name, shard.url, shard_fingerprint(shard)) for shard in shards)
    for sample in itertools.islice(read_samples(parts, Limits(), None), LOOKED_AT):
        yield {name: member.data for name, member in sample.fields.items()}


def _folder(path: Path, data: str) -> Start:
    pack: dict[str, object] = {"source": str(path), "output": data, "name": _name(path)}
    notes: list[str] = []
    # A folder of folders, each a class, is how image sets are often handed on.
    labelled = _is_sorted_by_class(path)
    if labelled:
        pack["label"] = "folder"
        notes.append(
            "the sub-folders' names are taken as labels: remove pack.label if they are none"
        )
    return _packed(pack, notes)


def _is_sorted_by_class(path: Path) -> bool:
    folders = [
        folder for folder in path.iterdir() if folder.is_dir() and not folder.name.startswith(".")
    ]
    if len(folders) < 2 or any(folder.name == "cls" for folder in folders):
        return False
    stems = [{file.stem for file in folder.iterdir() if file.is_file()} for folder in folders]
    kinds = [
        {file.suffix.lower() for file in folder.iterdir() if file.is_file()} for folder in folders
    ]
    shared = stems[0].intersection(*stems[1:])
    return all(stems) and not shared and bool(kinds[0].intersection(*kinds[1:]))


def _table(path: Path, data: str) -> Start:
    notes: list[str] = []
    names = column_names(path, None, None)
    rows = [row.cells for row in read_table(path, names).rows[:TABLE_ROWS] if not row.problem]
    columns: dict[str, str] = {}
    key = None
    cells = {name: [row[name] for row in rows if row.get(name) not in (None, "")] for name in names}
    fields = {name: _field_of(name, cells[name], path.parent) for name in names}
    split = next((name for name in names if _names_splits(cells[name], len(rows))), None)
    labels = [name for name in names if fields[name] == LABEL and name != split]
    words = {name: {text_of(cell).strip() for cell in cells[name]} for name in labels}
    label = _label_column([name for name in labels if not is_bookkeeping(name, words[name])])
    for number, (name, field_name) in enumerate(fields.items()):
        if name == split:
            notes.append(f"the column {name} says which split a row is of")
        elif field_name == "key" and key is None:
            key = name
        elif field_name and field_name != "key":
            is_taken = field_name in columns or (field_name == LABEL and name != label)
            field = f"{_plain(name) or f'column{number}'}.{field_name}" if is_taken else field_name
            columns[field if field not in columns else f"column{number}.{field_name}"] = name
        else:
            notes.append(f"the column {name} is not packed: add it to pack.columns if it should be")
    if not columns:
        raise ConfigError(
            "no column of the table looks like a file, a text or a label",
            where=str(path),
            fix=f"write pack.columns by hand; the columns are {', '.join(names)}",
        )
    pack: dict[str, object] = {"source": str(path), "output": data, "name": _name(path)}
    pack |= ({"key": key} if key else {}) | {"columns": columns}
    if split is None:
        return _packed(pack, notes)
    named = sorted({text_of(cell).strip() for cell in cells[split]})
    return _packed(pack | {"split_column": split}, notes, named)


def _names_splits(cells: Sequence[object], num_rows: int) -> bool:
    """Whether every row has the name of a split there, and there are several."""
    words = {text_of(cell).strip() for cell in cells if not is_media(cell)}
    return len(cells) == num_rows and len(words) > 1 and all(map(split_called, words))


def _label_column(names: Sequence[str]) -> str | None:
    """Of several columns that look like labels the one that is called like one, or else the first."""
    ranks = {usual: rank for rank, usual in enumerate(LABEL_NAMES)}
    return min(names, key=lambda name: ranks.get(name.lower(), len(ranks)), default=None)


def _field_of(name: str, cells: Sequence[object], folder: Path) -> str:
    """The field that a column becomes: an extension, ``key``, or empty where it does not look like one."""
    if not cells:
        return ""
    media = [cell for cell in cells if is_media(cell)]
    if len(media) == len(cells):
        contents = (content_of(cell, name) for cell in media)
        content = next((content for content in contents if content is not None), "")
        return _extension(content) if isinstance(content, bytes) else _suffix(content)
    binary = [cell for cell in cells if isinstance(cell, bytes)]
    if len(binary) == len(cells):
        return _extension(binary[0])
    if all(names_file(cell, folder) for cell in cells[:50]):
        return _suffix(str(cells[0]))
    texts = Counter(text_of(cell).strip() for cell in cells)
    if name.lower() in LABEL_NAMES or is_label(texts):
        return LABEL
    if len(texts) == len(cells) and not any(" " in text for text in texts):
        return "key"
    return "txt" if any(" " in text for text in texts) else ""


def _extension(content: bytes) -> str:
    kind = sniff(content[:SNIFFED_BYTES])
    return next((name for name, formats in EXTENSIONS.items() if kind in formats), "")


def _suffix(name: str) -> str:
    return Path(name).suffix.lower().removeprefix(".")


def _packed(
    pack: dict[str, object], notes: list[str], words: Sequence[str] = tuple(DEFAULT_SPLIT)
) -> Start:
    """A source that is still to be packed, into shards that have a word for their split in their names."""
    config = PackConfig.model_validate(pack)
    source = read_source(config, Reading())
    prefix = f"{config.output.rstrip('/')}/{config.name}"
    of_split = {split: [word for word in words if split_called(word) == split] for split in SPLITS}
    inputs = {
        split: f"{prefix}-{named[0] if len(named) == 1 else '{' + ','.join(named) + '}'}-*.tar"
        for split, named in of_split.items()
        if named
    }
    return Start(config.name, inputs, _entries(source.entries), pack, [*notes, *source.notes])


def _entries(entries: Sequence[Entry]) -> Iterator[Mapping[str, memoryview]]:
    step = max(1, len(entries) // LOOKED_AT)
    for entry in entries[::step][:LOOKED_AT]:
        yield {
            name: memoryview(content if isinstance(content, bytes) else content.read_bytes())
            for name, content in entry.fields.items()
        }


def _name(path: Path) -> str:
    return _plain(path.resolve().stem) or "data"


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
