"""Train, validation and test split by hash of a sample's key."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping

from pipeline.errors import ConfigError

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
    text = f"{seed}\0{key}".encode("utf-8", "surrogatepass")
    digest = hashlib.blake2b(text, digest_size=_HASH_BITS // 8).digest()
    point = int.from_bytes(digest, "big") / 2**_HASH_BITS
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
