"""Errors that come back from Ray's workers, as the errors they were there."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

from ray.exceptions import RayError

from pipeline import errors
from pipeline.errors import PipelineError, RunError


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
        found = _find(error) or _told(str(error))
        if found is not None:
            raise found from None
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise RunError(
            f"a worker failed: {lines[-1][:300] if lines else type(error).__name__}",
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
        told: PipelineError = kind(what, where=where, fix=fix)
        return told
    return None


def _find(error: BaseException | None) -> PipelineError | None:
    """The first of our errors in a chain of causes."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        cause = getattr(error, "cause", None)  # what RayTaskError wraps
        if isinstance(cause, PipelineError):
            return cause
        if isinstance(error, PipelineError) and not isinstance(error, RayError):
            return error
        error = cause if isinstance(cause, BaseException) else error.__cause__
    return None
