"""What libraries raise, in words."""

import struct
import zlib

import pytest

from pipeline.errors import MESSAGE_CHARACTERS, ConfigError, in_words


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (KeyError(6), "KeyError: 6"),
        (KeyError("no such tag"), "KeyError: 'no such tag'"),
        (ValueError(), "ValueError"),
        (ValueError(-5), "ValueError: -5"),
        (RuntimeError("bad"), "RuntimeError: bad"),
        (struct.error("6"), "struct.error: 6"),
        (zlib.error("Error -3 while decompressing data"), "Error -3 while decompressing data"),
        (OSError("broken  data\nstream"), "broken data stream"),
        (ValueError("an object at 0x7f00aa11bb22"), "an object at 0x"),
        (ConfigError("wrong value", where="a.yaml", fix="mend it"), "wrong value | a.yaml | mend it"),
    ],
    ids=lambda value: str(value) if isinstance(value, str) else "",
)  # fmt: skip
def test_a_bare_argument_is_no_message(error: Exception, words: str) -> None:
    assert in_words(error) == words


def test_a_message_is_one_line_and_short() -> None:
    assert len(in_words(ValueError("many words " * 100))) == MESSAGE_CHARACTERS
