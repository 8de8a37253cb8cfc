"""The one gate to libraries that decode: whatever they raise is a fault of the sample."""

from __future__ import annotations

import struct
import zlib
from types import TracebackType

from pipeline.errors import MESSAGE_CHARACTERS, SampleError, in_words
from pipeline.limits import DECODE_MEMORY_BYTES

# What damaged input makes code raise, whoever wrote it.
RAISED = (
    ArithmeticError,
    AssertionError,
    BufferError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,  # RecursionError and NotImplementedError among them
    SyntaxError,
    TypeError,
    ValueError,
    Warning,
    struct.error,
    zlib.error,
)


class Refusing:
    """A context in which what a library raises becomes a fault of the sample, a SampleError.

    What is missing or misspelt in our own code (NameError, AttributeError) is a bug, and passes.

    Args:
        reason: A word of the quarantine vocabulary.
        field: The field that is decoded.
        what: What cannot be decoded: ``the image``.
    """

    def __init__(self, reason: str, field: str, what: str) -> None:
        self._reason, self._field, self._what = reason, field, what

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        _: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, SampleError) or not isinstance(error, Exception):
            return
        if isinstance(error, MemoryError):
            message = f"{self._what} needs more memory than decoding may take, or than there is"
            raise SampleError(
                message, reason="too_large", field=self._field, setting=DECODE_MEMORY_BYTES
            ) from None
        if isinstance(error, RAISED) or not _is_ours(trace):
            raise refusal(error, self._reason, self._field, self._what) from None


def refusal(error: BaseException, reason: str, field: str, what: str) -> SampleError:
    """The fault of a sample that a library's error stands for."""
    message = f"{what} cannot be decoded: {in_words(error)}"
    return SampleError(message[:MESSAGE_CHARACTERS], reason=reason, field=field)


def _is_ours(trace: TracebackType | None) -> bool:
    """Whether an error comes from a line of this package."""
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is None or str(trace.tb_frame.f_globals.get("__name__")).startswith("pipeline.")
