"""Train, validation and test split by hash of a sample's key."""

from __future__ import annotations

import hashlib
import math
import re
from collections import defaultdict
from collections.abc import Mapping

from pipeline.errors import ConfigError, SampleError

_HASH_BITS = 64
_SPLIT_NAME = re.compile(r"[A-Za-z0-9_]+")


def split_of(key: str, fractions: Mapping[str, float], seed: int = 0) -> str:
    """Chooses the split of one key, from the key and the seed alone.

    The key's hash is a point in [0, 1), and the splits, in the order given, are intervals of
    [0, 1) as wide as their fractions. So the answer is the same on every machine, and samples
    that are added later never move the ones already there.

    Args:
        key: Key of the sample, or the name of the group whose samples must stay together.
        fractions: Split name -> share of the keys; the shares add up to 1. Their order matters.
        seed: Another seed is another, independent split.

    Returns:
        One of the names in ``fractions``, never one whose share is 0.

    Raises:
        ConfigError: The fractions are not shares that add up to 1.
    """
    check_fractions(fractions)
    point = _point(key, seed)
    end = 0.0
    chosen = ""
    for name, fraction in fractions.items():
        if fraction <= 0:
            continue
        chosen = name  # the last one takes what rounding leaves over
        end += fraction
        if point < end:
            break
    return chosen


def stratified(
    classes: Mapping[str, str], fractions: Mapping[str, float], seed: int = 0
) -> dict[str, str]:
    """Chooses the splits of all keys, so that each class has its share in every split.

    The keys of a class, in the order of their hashes, are dealt to the splits one stretch after the other. So the
    answer is the same on every machine. Samples that are added later move the ends of the stretches of their class, and
    with them a few samples next to those ends; all others, and all of other classes, stay where they are.

    A class has at least one key in each split where it has as many keys as there are splits.

    Args:
        classes: Key (or group) -> its class.
        fractions: Split name -> share of the keys.
        seed: Another seed is another, independent split.

    Returns:
        Key -> split.

    Raises:
        ConfigError: The fractions are not shares that add up to 1.
    """
    check_fractions(fractions)
    members: defaultdict[str, list[str]] = defaultdict(list)
    for key, name in classes.items():
        members[name].append(key)
    chosen: dict[str, str] = {}
    for keys in members.values():
        keys.sort(key=lambda key: (_point(key, seed), key))
        counts = _shares(len(keys), fractions)
        splits = (name for name, count in counts.items() for _ in range(count))
        chosen.update(zip(keys, splits, strict=True))
    return chosen


def _shares(total: int, fractions: Mapping[str, float]) -> dict[str, int]:
    """Whole numbers in the proportion of the shares, at least 1 each where that can be: largest remainders first."""
    used = {name: share for name, share in fractions.items() if share > 0}
    least = 1 if total >= len(used) else 0
    exact = {name: share * total for name, share in used.items()}
    counts = {name: max(least, math.floor(share)) for name, share in exact.items()}
    order = list(used)
    while sum(counts.values()) < total:
        name = max(order, key=lambda name: (exact[name] - counts[name], -order.index(name)))
        counts[name] += 1
    while sum(counts.values()) > total:
        spare = [name for name in order if counts[name] > least]
        name = max(spare, key=lambda name: (counts[name] - exact[name], counts[name]))
        counts[name] -= 1
    return counts


def _point(key: str, seed: int) -> float:
    """The hash of a key, in [0, 1)."""
    text = f"{seed}\0{key}".encode("utf-8", "surrogatepass")
    digest = hashlib.blake2b(text, digest_size=_HASH_BITS // 8).digest()
    return int.from_bytes(digest, "big") / float(2**_HASH_BITS)


def check_fractions(fractions: Mapping[str, float], where: str = "pack.split") -> None:
    """Checks that the names can be part of a file name and that the shares add up to 1.

    Args:
        fractions: Split name -> share of the keys.
        where: The setting to name in an error.

    Raises:
        ConfigError: A name or a share is not usable.
    """
    for name, fraction in fractions.items():
        if not _SPLIT_NAME.fullmatch(name):
            raise ConfigError(
                f"{name!r} cannot name a split", where=where, fix="use letters, digits and _"
            )
        if not 0.0 <= fraction <= 1.0:
            raise ConfigError(
                f"the share of {name} is {fraction}", where=where, fix="give a share from 0 to 1"
            )
    total = math.fsum(fractions.values())
    if abs(total - 1.0) > 1e-6:
        raise ConfigError(
            f"the shares add up to {total:g}", where=where, fix="make them add up to 1"
        )


def check_split_name(name: str, column: str) -> None:
    """Checks the split that a row of a table names.

    Raises:
        SampleError: It cannot be part of a file name.
    """
    if not _SPLIT_NAME.fullmatch(name):
        what = f"{name!r} in the column {column} cannot name a split" if name else ""
        raise SampleError(what or f"the column {column} names no split", reason="bad_row")
