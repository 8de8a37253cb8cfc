"""What goes wrong between here and a store is tried again, a bounded number of times, ever more slowly."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from pipeline.errors import InputError, PipelineError, in_words
from pipeline.logs import event
from pipeline.safe_text.redaction import redact
from pipeline.storage.location import without_query

logger = logging.getLogger(__name__)

T = TypeVar("T")

WORTH_RETRYING = (408, 425, 429)  # of the HTTP answers 4xx: too slow, too early, too many
_LIBRARIES = ("pyarrow", "obstore", "aiohttp", "huggingface_hub", "httpx", "requests")
_FINAL = (PermissionError, IsADirectoryError, NotADirectoryError)
_FINAL_WORDS = ("ACCESS_DENIED", "INVALID_ACCESS_KEY", "SIGNATURE_DOES_NOT_MATCH", "NO_SUCH_BUCKET")


@dataclass(frozen=True)
class Backoff:
    """How often and how slowly.

    Attributes:
        attempts: Tries in all.
        first_seconds: Longest pause after the first failure; it doubles from one to the next.
        longest_seconds: What it grows to.
    """

    attempts: int = 6
    first_seconds: float = 0.25
    longest_seconds: float = 8.0

    def pause_seconds(self, failures: int) -> float:
        """The pause after so many failures; jittered, so that a thousand workers do not come back at once."""
        longest = min(self.longest_seconds, self.first_seconds * 2.0 ** (failures - 1))
        return longest * random.uniform(0.5, 1.0)


BACKOFF = Backoff()


def of_a_library(error: Exception) -> bool:
    """Whether an exception is one of pyarrow's or obstore's own."""
    kinds = type(error).__mro__
    return any(kind.__module__.partition(".")[0] in _LIBRARIES for kind in kinds)


def retried(
    work: Callable[[], T],
    *,
    what: str,
    where: str,
    kind: type[PipelineError] = InputError,
    pause: Callable[[float], object] = time.sleep,
) -> T:
    """Does ``work`` until it succeeds, or has failed too often.

    Args:
        work: Does the whole of it anew each time.
        what: What it does, as in ``cannot be opened``.
        where: The location, for the message.
        kind: The error raised in the end.
        pause: Waits so many seconds.

    Raises:
        FileNotFoundError: There is no such file.
        PipelineError: It failed for good; names the location and the last cause.
    """
    where = without_query(where)
    for failures in range(1, BACKOFF.attempts + 1):
        try:
            return work()
        except FileNotFoundError:
            raise
        except OSError as error:
            words = f"{error.strerror or error or type(error).__name__}".split()
            message = redact(" ".join(words))[:300]
            if isinstance(error, _FINAL) or any(word in str(error) for word in _FINAL_WORDS):
                fix = "check that the location is right and that you may read it"
                raise kind(f"{what}: {message}", where=where, fix=fix) from error
            if failures == BACKOFF.attempts:
                fix = "check the network and the store, and run the job again"
                what = f"{what}, {failures} times in a row: {message}"
                raise kind(what, where=where, fix=fix) from error
            event(logger, "read_again", where=where, failures=failures, cause=message)
            pause(BACKOFF.pause_seconds(failures))
        except Exception as error:
            # Of a name that it cannot parse, obstore says so with a plain ValueError.
            if isinstance(error, PipelineError) or not (
                isinstance(error, ValueError) or of_a_library(error)
            ):
                raise
            fix = (
                "check the location: parts of its name that are empty, . or .. are none to a store"
            )
            raise kind(f"{what}: {in_words(error)}", where=where, fix=fix) from error
    raise AssertionError("unreachable")
