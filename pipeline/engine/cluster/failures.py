"""Errors that come back from Ray's workers, as the errors they were there."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

from ray.exceptions import (
    NodeDiedError,
    ObjectLostError,
    OutOfMemoryError,
    RayActorError,
    RayError,
    WorkerCrashedError,
)

from pipeline import errors
from pipeline.errors import PipelineError, RunError
from pipeline.safe_text.redaction import redact

# A process or a node ended, and with it what it worked on or held; what a worker raises itself is none of these.
LOSSES = (RayActorError, WorkerCrashedError, NodeDiedError, ObjectLostError, OutOfMemoryError)


def is_loss(error: BaseException) -> bool:
    """Whether work came to nothing because a process or a node was lost, so that doing it again makes sense."""
    if _find(error) is not None:
        return False
    return any(isinstance(cause, LOSSES) for cause in _causes(error))


@contextlib.contextmanager
def plain_errors(where: str) -> Iterator[None]:
    """Raises what a worker raised, not Ray's wrapping of it.

    Raises:
        PipelineError: The worker's own.
        RunError: Anything else that went wrong on a worker, by its last line.
    """
    try:
        yield
    except RayError as error:
        original = _find(error) or _told(str(error))
        if original is not None:
            raise original from None
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise RunError(
            f"a worker failed: {redact(lines[-1])[:300] if lines else type(error).__name__}",
            where=where,
            fix="the log above has the whole of it; run the job again to go on from what is committed",
        ) from error


def _told(text: str) -> PipelineError | None:
    """Our error from a worker's traceback: Ray Data sends the text of what a map raised, not the error itself."""
    lines = re.findall(r"^\s*(?:\S*pipeline\.errors\.)(\w+): (.+)$", text, flags=re.MULTILINE)
    for name, message in reversed(lines):
        kind = getattr(errors, name, None)
        # The errors of data need more than words; they are caught where they are raised.
        if kind in (None, errors.SampleError, errors.ShardError):
            continue
        what, where, fix = [*message.split(" | "), "", ""][:3]
        original: PipelineError = kind(what, where=where, fix=fix)
        return original
    return None


def _find(error: BaseException | None) -> PipelineError | None:
    """The first of our errors in a chain of causes."""
    ours = (cause for cause in _causes(error) if isinstance(cause, PipelineError))
    return next((cause for cause in ours if not isinstance(cause, RayError)), None)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error, what it was raised from, what that was raised from, and so on; each once."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        cause = getattr(error, "cause", None)  # what RayTaskError wraps
        error = cause if isinstance(cause, BaseException) else error.__cause__
