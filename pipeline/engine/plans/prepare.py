"""What a job finds out before it decodes its first sample: its parts, the tokenizer, the classes."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from pipeline import storage
from pipeline.config import Config, Patterns
from pipeline.engine.decoding.decoded_folder import (
    limit_rows,
    num_rows,
    split_input,
    tokenizer_digest,
)
from pipeline.engine.executors.workplace import Workplace
from pipeline.errors import BadDataError, ConfigError
from pipeline.inspection.survey import first_fields, training_texts
from pipeline.logs import event
from pipeline.modalities.decoding.targets import Target
from pipeline.runs import TOKENIZER
from pipeline.shards.packed.kinds import SUFFIXES
from pipeline.shards.planning.plan import (
    Part,
    Shard,
    expand,
    hash_shard,
    limit,
    needs_scan,
    plan_shard,
    replan,
)
from pipeline.sinks.records import Record

logger = logging.getLogger(__name__)

TOKENIZER_TEXTS = 10_000
FIELDS_LOOKED_AT = 1_000  # samples whose fields are compared with the configured ones
WORKERS_SCAN_BYTES = (
    4 << 30
)  # of large shards; below, one process has scanned them before a worker has started
WORKERS_HASH_BYTES = 1 << 30  # as much as one process hashes in a second
T = TypeVar("T")


def plan_parts(
    config: Config,
    patterns: Patterns,
    where: str,
    *,
    target: Target | None = None,
    tokenizer: str | None = None,
    metadata: Sequence[str] = (),
    known: Iterable[Record] = (),
    workplace: Workplace | None = None,
) -> list[Part]:
    """The parts of a split or pattern, at most ``input.max_samples`` samples of them.

    Args:
        config: The whole configuration.
        patterns: A split, or patterns of shards and folders that preprocess wrote; those folders come first.
        where: The setting that names them.
        target: What preprocess must have read as the target; any where None.
        tokenizer: What it must have tokenized texts with; any where None.
        metadata: Fields that it must have kept.
        known: Records of parts that were done before: shards that have not changed since are not opened.
        workplace: Scans and hashes what is large; None does it in this process.

    Raises:
        ConfigError: Nothing matches, none of the configured fields is in the data, or a folder was preprocessed with
            other settings.
        BadDataError: There are shards, and nothing in them can be read.
    """
    folders, shards = split_input(config.patterns(patterns, where))
    identity: dict[str, Any] = {} if target is None else {"label": target.identity}
    identity |= {} if tokenizer is None else {"tokenizer": tokenizer_digest(tokenizer)}
    for folder in folders:
        modalities = folder.as_written(config.modalities)
        folder.check(where, metadata, modalities=modalities, **identity)
    parts = [part for folder in folders for part in folder.parts()]
    num_left = config.input.max_samples
    if num_left is not None:
        parts = limit_rows(parts, num_left)
        num_left -= num_rows(parts)
    if shards and num_left != 0:
        expanded = expand(shards, where=where)
        if config.input.fingerprint == "content":
            expanded = hash_shards(expanded, workplace)
        plans = [record.plan for record in known if record.plan is not None]
        before = replan(expanded, plans) if num_left is None else {}
        if num_left is None:
            planned = plan_shards(expanded, before, workplace)
        else:
            planned = limit((part for shard in expanded for part in plan_shard(shard)), num_left)
        if len(before) < len(expanded):
            _check_fields(config, [part for part in planned if part.shard not in before], where)
        parts += planned
    if not parts:
        raise BadDataError("the preprocessed folder holds no samples", where=f"{where}={patterns}")
    return parts


def plan_shards(
    shards: Sequence[Shard],
    known: Mapping[str, list[Part]] | None = None,
    workplace: Workplace | None = None,
) -> list[Part]:
    """The parts of shards in their order; where many bytes are to be scanned for headers, an executor does it.

    Args:
        shards: All.
        known: Shard -> its parts, of those that need no planning.
        workplace: See :func:`plan_parts`.
    """
    cuts = dict(known or {})
    unknown = [shard for shard in shards if shard.name not in cuts]
    large = [shard for shard in unknown if needs_scan(shard)]
    planned = on_workers(
        plan_shard, large, WORKERS_SCAN_BYTES, "planning", workplace, in_python=True
    )
    cuts |= {shard.name: parts for shard, parts in zip(large, planned, strict=True)}
    return [part for shard in shards for part in cuts.get(shard.name) or plan_shard(shard)]


def hash_shards(shards: Sequence[Shard], workplace: Workplace | None = None) -> list[Shard]:
    """Shards whose version is a digest of their content, for which all of it is read."""
    return on_workers(hash_shard, shards, WORKERS_HASH_BYTES, "hashing", workplace)


def on_workers(
    work: Callable[[Shard], T],
    shards: Sequence[Shard],
    at_least: int,
    name: str,
    workplace: Workplace | None,
    *,
    in_python: bool = False,
) -> list[T]:
    """Does something to shards, one after the other where they have fewer bytes than ``at_least`` together."""
    if workplace is None or sum(shard.size for shard in shards) < at_least:
        return [work(shard) for shard in shards]
    return workplace.each(work, shards, name, in_python=in_python)


def check_tokenizer(config: Config, patterns: Patterns, where: str, tokenizer: str | None) -> None:
    """Checks that preprocessed folders among the patterns were tokenized with this tokenizer.

    Raises:
        ConfigError: One was not.
    """
    if tokenizer is not None:
        for folder in split_input(config.patterns(patterns, where))[0]:
            folder.check(where, tokenizer=tokenizer_digest(tokenizer))


def _check_fields(config: Config, parts: Sequence[Part], where: str) -> None:
    """Looks at the first samples: is there anything for this configuration in them?"""
    seen: set[str] = set()
    configured = {
        name for section in config.modalities.by_name().values() for name in section.fields
    }
    looked_at = 0
    for fields in itertools.islice(first_fields(parts, config.limits), FIELDS_LOOKED_AT):
        looked_at += 1
        seen |= set(fields)
        if seen & configured:
            return
    if not looked_at:
        raise BadDataError(
            f"none of the {len({part.shard for part in parts})} shards holds a sample that can be read",
            where=f"{where}, the first is {parts[0].url}",
            fix=f"check that they are tar files: {', '.join(SUFFIXES)}",
        )
    raise ConfigError(
        f"none of the configured fields ({', '.join(sorted(configured))}) is in the data",
        where=f"{where}, the first {looked_at} samples",
        fix=f"the fields there are: {', '.join(sorted(seen))}; set modalities.NAME.fields",
    )


def ensure_tokenizer(config: Config, own_input: Patterns) -> str | None:
    """The run's tokenizer, trained now if there is none yet.

    It is trained from the first 10,000 texts of ``input.train``, or of the job's own input where that is not set. A
    preprocessed folder there brings the one that its texts were tokenized with.

    Returns:
        The tokenizer's JSON, None where the configuration has no text.
    """
    tokenized = config.modalities.tokenized()
    if not tokenized:
        return None
    url = storage.join(config.run, TOKENIZER)
    ready = next((spec.ready for spec in tokenized.values() if spec.ready), None)
    if ready is not None:
        return _ready_tokenizer(ready(), url)
    if storage.exists(url):
        return storage.read_bytes(url).decode()
    patterns = config.patterns(config.input.train or own_input, "the job's input")
    tokenizer = make_tokenizer(config, patterns, "input.train")
    storage.write_bytes(url, tokenizer.encode())
    event(logger, "tokenizer_trained", path=url)
    return tokenizer


def make_tokenizer(config: Config, patterns: Patterns, where: str) -> str:
    """The tokenizer of the first preprocessed folder that has one, or one trained from the first 10,000 texts.

    Args:
        config: Of modalities that are tokenized.
        patterns: Shards and folders.
        where: What names them.

    Returns:
        The tokenizer's JSON.
    """
    folders, shards = split_input(patterns)
    tokenizer = next((own for folder in folders if (own := folder.tokenizer)), None)
    if tokenizer is not None:
        return tokenizer
    expanded = expand(shards, where=where)
    # One shard after the other, so that those behind the last text are not scanned.
    parts = (part for shard in expanded for part in plan_shard(shard))
    texts = training_texts(parts, config.modalities, config.limits)
    spec = next(iter(config.modalities.tokenized().values()))
    return spec.train(itertools.islice(texts, TOKENIZER_TEXTS))


def _ready_tokenizer(tokenizer: str, url: str) -> str:
    """The tokenizer of a pretrained encoder, which becomes that of the run.

    Raises:
        ConfigError: The run has another.
    """
    if not storage.exists(url):
        storage.write_bytes(url, tokenizer.encode())
    elif storage.read_bytes(url).decode() != tokenizer:
        raise ConfigError(
            "the run has another tokenizer than the pretrained encoder of its texts",
            where=url,
            fix="choose another run",
        )
    return tokenizer
