"""Nothing that a file says reaches a terminal as a command."""

import io
import logging
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from support.tones import write_tar

from jobs._job import main
from jobs.lint import JOB
from pipeline import logs
from pipeline.errors import ConfigError
from pipeline.safe_text.printable import printable, printable_lines

EVIL = "a\x1b]0;owned\x07\x9b31m\u202egpj\u2066\x7f"
UNFIT = set(
    map(chr, [*range(0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)])
)


def is_fit(text: str) -> bool:
    return not UNFIT & set(text.replace("\n", "").replace("\t", ""))


@given(text=st.text())
def test_any_text_becomes_fit_and_plain_text_stays(text: str) -> None:
    assert not UNFIT & set(printable(text))
    assert is_fit(printable_lines(text))
    printable(text).encode()  # no halves of surrogate pairs
    plain = "".join(letter for letter in text if letter.isalnum())
    assert printable(plain) == plain


def test_escapes_tell_what_was_there() -> None:
    assert printable("a\x1b[31m\n\u202eb中é") == "a\\x1b[31m\\n\\u202eb中é"
    assert printable_lines("a\n\tb\r") == "a\n\tb\\r"


def test_errors_and_log_lines_are_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_fit(str(ConfigError(EVIL, where=EVIL, fix=EVIL)))
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    logs.set_up()
    logs.event(logging.getLogger("pipeline.test"), "met", key=EVIL)
    logging.getLogger("pipeline.test").warning("met %s", EVIL)
    assert "met" in stream.getvalue()
    assert is_fit(stream.getvalue())


def test_lint_shows_hostile_keys_fields_and_labels_as_escapes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    samples = {
        EVIL: {"txt": b"text", "cls": EVIL.encode(), "x\x1b[2j": b"x"},
        "b": {"txt": b"", "cls": b"b"},
    }
    write_tar(tmp_path / "x.tar", samples)
    config = {
        "run": str(tmp_path / "run"),
        "input": {"train": str(tmp_path / "x.tar")},
        "modalities": {"text": {"fields": ["txt"]}},
        "objective": {"kind": "classify", "label": "cls"},
        "lint": {"estimate_samples": 0},
    }
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump(config))
    main(JOB, [str(path)])
    shown = capsys.readouterr()
    assert "\\x1b" in shown.out
    assert is_fit(shown.out)
    assert is_fit(shown.err)
