"""What is wrong with a member that no vector can be read from."""

from __future__ import annotations

from pipeline.errors import MESSAGE_CHARACTERS, SampleError

BAD_VECTOR = "bad_vector"


def bad(what: str, field: str, setting: str = "") -> SampleError:
    """The fault of a member.

    Args:
        what: What is wrong, in one clause without the member's bytes.
        field: Its extension.
        setting: Dotted path of the setting that would let it through, if there is one.
    """
    message = f"the vector cannot be read: {what}"[:MESSAGE_CHARACTERS]
    return SampleError(message, reason=BAD_VECTOR, field=field, setting=setting)
