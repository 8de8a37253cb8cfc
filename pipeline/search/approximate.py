"""Approximate nearest neighbours through an index that is made once for a snapshot and kept in the run."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline import runs, storage
from pipeline.errors import ConfigError, in_words
from pipeline.logs import event
from pipeline.sample import KEY, SHARD
from pipeline.search.exact import Found, Hit, ranked, similarities
from pipeline.search.written import Written

SUFFIX = ".usearch"
# The index's own settings; with these it found all of the true ten nearest of 50 queries among 100,000 clustered
# vectors of 384.
SETTINGS = {"connectivity": 16, "expansion_add": 128, "expansion_search": 128}
VERSION = 1  # of what is kept
ASKED_FOR = 4  # times as many as are wanted, to be compared exactly
ASKED_AT_LEAST = 64

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Approximate:
    """An index of one column of a snapshot.

    It is a graph over the vectors (Malkov & Yashunin 2020, "Efficient and robust approximate nearest neighbor search
    using hierarchical navigable small world graphs"). A search compares few of them, and may miss a neighbour; scores
    and order are exact. The index is mapped into memory where it is local; making one holds all vectors.

    Attributes:
        written: The rows.
        column: Which of their columns.
        content: What the snapshot is known by, ready for JSON: another content makes another index.
        folder: Where the index is kept.
    """

    written: Written
    column: str
    content: Mapping[str, Any]
    folder: str

    @property
    def url(self) -> str:
        """Where the index of this very snapshot lies."""
        content = [VERSION, SETTINGS, dict(self.content)]
        return storage.join(self.folder, f"{self._prefix}{runs.fingerprint(content)[:16]}{SUFFIX}")

    @property
    def _prefix(self) -> str:
        return f"{runs.fingerprint([self.written.output, self.column])[:8]}-"

    def nearest(self, query: np.ndarray, top: int, without: int | None = None) -> Found:
        """As :func:`pipeline.search.exact.nearest`.

        Raises:
            ConfigError: The package is not installed.
        """
        index = self._index()
        count = max(ASKED_FOR * top, ASKED_AT_LEAST) + 1
        # Fewer looked at than are asked for, and the index gives fewer.
        index.expansion_search = max(SETTINGS["expansion_search"], count)
        rows = np.sort(index.search(query.astype(np.float32), count).keys.astype(np.int64))
        rows = rows[rows != (-1 if without is None else without)]
        compared = len(index) - (without is not None and int(without) in index)
        if not len(rows):
            return Found([], compared)
        vectors = np.stack(index.get(rows.astype(np.uint64)))
        scores = similarities(query, vectors.reshape(len(rows), -1))
        names = self.written.fetch(rows.tolist(), [SHARD, KEY])
        hits = [
            Hit(score, name[SHARD] or "", name[KEY] or "", row)
            for score, name, row in zip(scores.tolist(), names, rows.tolist(), strict=True)
        ]
        return Found(ranked(hits, top), compared)

    def _index(self) -> Any:
        """The index, read where this snapshot has one, else made."""
        kind = _package()
        if storage.exists(self.url):
            local = storage.is_local(self.url)
            source = str(storage.local_path(self.url)) if local else storage.read_bytes(self.url)
            try:
                index = kind.restore(source, view=local)
            except (RuntimeError, ValueError) as error:
                event(logger, "index_damaged", path=self.url, error=in_words(error))
                index = None
            if index is not None:
                return index
        return self._make(kind)

    def _make(self, kind: Any) -> Any:
        began = time.monotonic()
        index = kind(ndim=self.written.width(self.column), metric="cos", dtype="f32", **SETTINGS)
        for batch in self.written.scan(self.column):
            good = np.flatnonzero(batch.present & _has_direction(batch.vectors))
            if len(good):
                vectors = np.ascontiguousarray(batch.vectors[good], dtype=np.float32)
                index.add((good + batch.first).astype(np.uint64), vectors)
        storage.write_bytes(self.url, bytes(index.save()))
        self._clear()
        event(
            logger,
            "index_made",
            path=self.url,
            rows=len(index),
            seconds=round(time.monotonic() - began, 1),
        )
        return index

    def _clear(self) -> None:
        """Removes the indexes of earlier snapshots."""
        for info in storage.list_files(self.folder):
            name = info.url.rpartition("/")[2]
            mine = name.startswith(self._prefix) and name.endswith(SUFFIX)
            if mine and name != self.url.rpartition("/")[2]:
                storage.remove(info.url)


def _has_direction(vectors: np.ndarray) -> np.ndarray:
    """(n,) bool: whether a vector can be compared."""
    with np.errstate(all="ignore"):
        squares = np.square(vectors, dtype=np.float64).sum(axis=1)
    good: np.ndarray = np.isfinite(squares) & (squares > 0)
    return good


def _package() -> Any:
    try:
        from usearch.index import Index
    except ImportError:
        raise ConfigError(
            "the package usearch is not installed",
            where="search.index",
            fix='install it with pip install "multimodal-pipeline[search]", or set search.index to exact',
        ) from None
    return Index
