"""Samples that a job leaves out of its parts: one file for all parts, of which each reads its own stretch."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace

from pipeline import storage
from pipeline.shards.planning.plan import Part

# Ordinal -> why its sample is left out: a word of ``pipeline.sample.FILTERS``, the rest in words, and the setting.
LeftOut = Mapping[int, tuple[str, str, str]]


def write_left_out(url: str, parts: Iterable[tuple[Part, LeftOut]]) -> list[Part]:
    """Writes which samples are left out, and returns the parts that know where that is written.

    Args:
        url: The file, which is replaced.
        parts: Each part with its samples; the file is written as they come.
    """
    noted = []
    end = 0
    with storage.create(url) as file:
        for part, samples in parts:
            if not samples:
                noted.append(replace(part, left_out=None))
                continue
            rows = [[ordinal, *why] for ordinal, why in samples.items()]
            line = json.dumps(rows, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
            noted.append(replace(part, left_out=(url, end, end + len(line))))
            file.write(line)
            end += len(line)
    return noted


def read_left_out(part: Part) -> LeftOut:
    """The samples of a part that are left out.

    Raises:
        InputError: The file is gone or cannot be read.
    """
    if part.left_out is None:
        return {}
    url, start, end = part.left_out
    source = storage.open_source(url, start, end, read_ahead=True)
    try:
        rows = json.loads(bytes(source.read(start, end - start)))
    finally:
        source.close()
    return {ordinal: (reason, detail, setting) for ordinal, reason, detail, setting in rows}
