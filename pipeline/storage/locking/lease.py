"""A lease on a folder that several machines reach: one holder at a time, told apart by an epoch.

A holder renews its lease every few seconds. Whoever finds one that stays the same for its whole time takes it over,
by its own clock alone; whoever finds one that changes knows that its holder lives. Every change is a conditional
write, so two can never both believe that they have taken it.

Source: C. Gray and D. Cheriton, Leases: an efficient fault-tolerant mechanism for distributed file cache consistency,
SOSP 1989; the epoch is what M. Kleppmann calls a fencing token.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import threading
import time
import uuid
from dataclasses import asdict, dataclass
from typing import Protocol

from pipeline.errors import LockedError, PipelineError
from pipeline.logs import event
from pipeline.storage.location import is_local, local_path
from pipeline.storage.locking.numbered import NumberedFile
from pipeline.storage.versions import read_version, replace_if

SECONDS = 20.0  # without a renewal, after which a lease is anybody's
RENEWALS = 5  # within that time

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Content:
    """What a lease says: its epoch, its holder (None where it was given back), and how long it lasts unrenewed."""

    epoch: int
    holder: str | None
    seconds: float


class Register(Protocol):
    """A small file that is replaced only by who has read it last."""

    def read(self) -> tuple[bytes, str]:
        """Content and version; ``FileNotFoundError`` where there is none."""

    def replace(self, data: bytes, version: str | None) -> str | None:
        """The new version, None where another was faster; a version of None stands for no file."""


class StoredObject:
    """A register in an object store.

    Args:
        url: Where.
    """

    def __init__(self, url: str) -> None:
        self._url = url

    def read(self) -> tuple[bytes, str]:
        return read_version(self._url)

    def replace(self, data: bytes, version: str | None) -> str | None:
        return replace_if(self._url, data, version)


class Lease:
    """A lease, held from ``acquire`` to ``release``.

    Args:
        url: The object that stands for it, or a local folder of its own.
        where: The folder, for messages.
        seconds: How long it lasts without a renewal.
    """

    def __init__(self, url: str, where: str, seconds: float = SECONDS) -> None:
        self._register: Register = (
            NumberedFile(local_path(url)) if is_local(url) else StoredObject(url)
        )
        self._where, self._seconds = where, seconds
        self._holder = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self._version: str | None = None
        self._epoch = 0
        self._renewals = 0
        self._renewed = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)

    def acquire(self) -> None:
        """Takes the lease; waits for one whose holder is dead to run out.

        Raises:
            LockedError: Another holds it, and lives.
            SinkError: The store cannot be reached.
        """
        seen: str | None = None
        since = time.monotonic()
        while True:
            content, version = self._look()
            if content is None or content.holder is None:
                pass
            elif seen not in (None, version):
                raise self._locked(f"another job works on this folder: {content.holder}")
            elif seen is None:
                seen, since = version, time.monotonic()
                event(logger, "lease_watched", where=self._where, holder=content.holder)
            if (
                content is None
                or content.holder is None
                or time.monotonic() - since > content.seconds
            ):
                self._epoch = 1 if content is None else content.epoch + 1
                begun = time.monotonic()
                taken = self._register.replace(self._content(self._holder), version)
                if taken is not None:
                    self._version, self._renewed = taken, begun
                    self._thread.start()
                    return
                seen = None
                continue
            time.sleep(min(1.0, self._seconds / (4 * RENEWALS)))

    def check(self) -> None:
        """Checks that the lease is still this one's.

        Raises:
            LockedError: It ran out, or another has taken it over.
        """
        if self._over.is_set() or time.monotonic() - self._renewed > self._seconds:
            raise self._locked("this job has lost its lease on the folder to another")

    def release(self) -> None:
        """Gives the lease back, so that the next need not wait."""
        lost = self._over.is_set()
        self._over.set()
        self._thread.join()
        if not lost:
            with contextlib.suppress(PipelineError):  # then it runs out
                self._register.replace(self._content(None), self._version)

    def _keep(self) -> None:
        while not self._over.wait(self._seconds / RENEWALS):
            begun = time.monotonic()
            self._renewals += 1
            try:
                renewed = self._register.replace(self._content(self._holder), self._version)
            except PipelineError as error:  # the store may come back before the time is over
                event(logger, "lease_not_renewed", where=self._where, cause=error)
                continue
            if renewed is None:
                event(logger, "lease_lost", where=self._where)
                self._over.set()
                return
            self._version, self._renewed = renewed, begun

    def _look(self) -> tuple[_Content | None, str | None]:
        try:
            data, version = self._register.read()
        except FileNotFoundError:
            return None, None
        try:
            values = json.loads(data)
            return _Content(values["epoch"], values["holder"], values["seconds"]), version
        except ValueError:  # a machine lost its power while it wrote: whose it was, nobody knows
            return _Content(0, "unknown", self._seconds), version

    def _content(self, holder: str | None) -> bytes:
        content = asdict(_Content(self._epoch, holder, self._seconds))
        return json.dumps(content | {"renewals": self._renewals}).encode()

    def _locked(self, what: str) -> LockedError:
        return LockedError(
            what, where=self._where, fix="wait for it to end, or choose another output"
        )
