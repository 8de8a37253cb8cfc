"""Patterns -> shards: braces, globs, folders, plain names."""

from __future__ import annotations

import logging
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from braceexpand import braceexpand

from pipeline import storage
from pipeline.errors import ConfigError
from pipeline.logs import event
from pipeline.shards.packed.kinds import SUFFIXES, not_read
from pipeline.shards.planning.listings import remembered
from pipeline.storage import FileInfo

logger = logging.getLogger(__name__)

ASKED_SINGLY = 256  # names of one folder; for more of them the folder is listed
SPECIAL = re.compile(r"[*?\[{]")
_SPECIAL_ON_THE_WEB = re.compile(r"[*\[{]")  # there a ? begins the query
_GLOB = re.compile(r"[*?\[]")
_SLASHES = re.compile("//+")
_TOKENS = re.compile(r"\*+|\?|\[!?\]?[^\]]*\]|.", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Shard:
    """A tar file, plain or compressed.

    Attributes:
        name: Path below the pattern's fixed prefix; the same wherever the data lies.
        url: Where it lies now.
        size: Bytes.
        version: Changes with the content: modification time or the store's tag.
    """

    name: str
    url: str
    size: int
    version: str


def expand(patterns: str | Sequence[str], *, where: str = "input") -> list[Shard]:
    """Finds the shards that match: braces, globs, folders, lists of them; sorted by name.

    Raises:
        ConfigError: A pattern matches nothing, names a file that is not there, cannot be looked up where it points, or
            two shards get the same name.
        InputError: A store cannot be reached.
    """
    every = (patterns,) if isinstance(patterns, str) else tuple(patterns)
    return remembered(every, lambda: _expand(every, where))


def _expand(patterns: Sequence[str], where: str) -> list[Shard]:
    shard_by_name: dict[str, Shard] = {}
    for pattern in patterns:
        nothing = True
        for shard in _match(pattern):
            nothing = False
            earlier = shard_by_name.setdefault(shard.name, shard)
            if earlier is not shard and earlier.url != shard.url:
                raise ConfigError(
                    f"two shards are called {shard.name}",
                    where=f"{storage.without_query(earlier.url)} and {storage.without_query(shard.url)}",
                    fix="name their common folder in one pattern, as in data/{a,b}/*.tar",
                )
        if nothing:
            beside = " and ".join(
                f"{n} of {words}" for words, n in archives_beside(pattern).items()
            )
            raise ConfigError(
                f"no shard matches {storage.without_query(pattern)}"
                + (f"; there are files that are not read: {beside}" if beside else ""),
                where=where,
                fix="check the path; patterns are relative to the folder the job is started in",
            )
    return [shard_by_name[name] for name in sorted(shard_by_name)]


def _match(pattern: str) -> Iterator[Shard]:
    on_the_web = not storage.can_list(pattern)
    if not on_the_web:
        scheme, separator, path = pattern.rpartition("://")
        pattern = f"{scheme}{separator}{_SLASHES.sub('/', path)}"
    special = (_SPECIAL_ON_THE_WEB if on_the_web else SPECIAL).search(pattern)
    if special is not None and storage.is_local(pattern) and storage.exists(pattern):
        special = None  # a file or folder whose name has such letters
    if special is None:
        info = storage.file_info(pattern)
        if info is not None:
            return _shards([info], _parent(storage.without_query(pattern)))
        if on_the_web:
            raise _not_on_the_web(pattern)
        folder = storage.list_files(pattern, recursive=True, hidden=False)
        _note_not_read(pattern, folder)
        tars = (info for info in folder if _is_shard(info.url))
        return _shards(tars, pattern.rstrip("/") + "/")
    prefix = _parent(pattern[: special.start()])
    names = list(braceexpand(pattern))
    if on_the_web and any(_SPECIAL_ON_THE_WEB.search(name) for name in names):
        raise ConfigError(
            "a web server does not say which files it has, so * and [ ] match nothing there",
            where=storage.without_query(pattern),
            fix="name the shards: one address each, or with braces, as in shard-{000000..000099}.tar",
        )
    globs = [] if on_the_web else [name for name in names if _GLOB.search(name)]
    if not globs:
        return _shards(_named(names), prefix)
    plain = [name for name in names if not _GLOB.search(name)]
    infos = [*_named(plain), *(info for name in globs for info in _glob(name))]
    return _shards(infos, prefix)


def archives_beside(pattern: str) -> Counter[str]:
    """What lies in a folder of shards, and would hold samples if it were read: what it is -> how many files."""
    if SPECIAL.search(pattern) or not storage.can_list(pattern) or storage.file_info(pattern):
        return Counter()
    return _not_read(storage.list_files(pattern, recursive=True, hidden=False))


def _not_read(infos: Iterable[FileInfo]) -> Counter[str]:
    return Counter(words for info in infos if (words := not_read(info.url)) is not None)


def _note_not_read(folder: str, infos: Iterable[FileInfo]) -> None:
    for words, number in _not_read(infos).items():
        event(logger, "files_passed_over", folder=folder, files=number, each=words)


def _shards(infos: Iterable[FileInfo], prefix: str) -> Iterator[Shard]:
    for info in infos:
        name = storage.without_query(info.url).removeprefix(prefix).removeprefix("./")
        words = not_read(name)
        if words is not None:
            raise ConfigError(
                f"{name} is {words}, which is not read",
                where=storage.without_query(info.url),
                fix=f"unpack it and pack its files (jobs.pack); read are {', '.join(SUFFIXES)}",
            )
        yield Shard(name, info.url, info.size, info.version)


def _named(urls: Sequence[str]) -> Iterator[FileInfo]:
    """The files of these names, all of which must be there."""
    folders: dict[str, list[str]] = defaultdict(list)
    for url in urls:
        folders[_parent(storage.without_query(url))].append(url)
    missing: list[str] = []
    for folder, inside in folders.items():
        infos: Iterable[FileInfo | None]
        if len(inside) > ASKED_SINGLY and storage.can_list(folder):
            listed = {info.url: info for info in storage.list_files(folder)}
            infos = map(listed.get, inside)
        else:
            infos = storage.file_infos(inside)
        for url, info in zip(inside, infos, strict=True):
            if info is None:
                missing.append(url)
            else:
                yield info
    if missing and not storage.can_list(missing[0]):
        raise _not_on_the_web(missing[0], len(missing), len(urls))
    if missing and len(missing) < len(urls):
        raise ConfigError(
            f"{len(missing)} of the {len(urls)} shards that the pattern names are not there",
            where=f"the first is {storage.without_query(missing[0])}",
            fix="correct the range, or use * to take what is there",
        )


def _not_on_the_web(url: str, count: int = 1, total: int = 1) -> ConfigError:
    names = (
        f"{count} of the {total} shards that the pattern names, the first" if total > 1 else "it"
    )
    return ConfigError(
        f"the web server answers 404, not found, for {names}",
        where=storage.without_query(url),
        fix="check the address" + ("es and the range" if total > 1 else ""),
    )


def _glob(pattern: str) -> list[FileInfo]:
    wild = _GLOB.search(pattern)
    root = _parent(pattern[: wild.start()]) if wild else _parent(pattern)
    relative = pattern[len(root) :]
    matches = _translate(relative).fullmatch
    start = len(root)
    infos = storage.list_files(
        root,
        recursive="/" in relative or "**" in relative,
        depth=storage.DEEPEST if "**" in relative else relative.count("/"),
        hidden=relative.startswith(".") or "/." in relative,
    )
    # An index beside a shard is none itself.
    return [i for i in infos if matches(i.url, start) and not i.url.endswith(".idx")]


def _translate(pattern: str) -> re.Pattern[str]:
    """A glob as a regular expression: only ``**`` crosses folders, and hidden files have to be asked for."""
    *folders, name = pattern.split("/")
    pieces = [
        "(?:(?!\\.)[^/]+/)*" if folder == "**" else f"{_translate_name(folder)}/"
        for folder in folders
    ]
    last = "(?:(?!\\.)[^/]+/)*(?!\\.)[^/]+" if name == "**" else _translate_name(name)
    return re.compile("".join([*pieces, last]), re.DOTALL)


def _translate_name(glob: str) -> str:
    pieces = ["(?!\\.)"] if glob[:1] in ("*", "?", "[") else []
    for token in _TOKENS.findall(glob):
        if token[0] == "*":
            pieces.append("[^/]*")
        elif token == "?":
            pieces.append("[^/]")
        elif token[0] == "[" and len(token) > 2:
            inside = re.sub(r"([\\\[\]^&~|])", r"\\\1", token[1:-1])
            pieces.append(f"[^/{inside[1:]}]" if inside[0] == "!" else f"(?!/)[{inside}]")
        else:
            pieces.append(re.escape(token))
    return "".join(pieces)


def _is_shard(url: str) -> bool:
    return url.lower().endswith(SUFFIXES) and url[url.rfind("/") + 1] != "."


def _parent(path: str) -> str:
    return path[: path.rfind("/") + 1]
