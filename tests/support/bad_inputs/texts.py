"""Texts, metadata and labels: whole ones, and those that are binary, in another encoding, or no JSON."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator

from support.bad_inputs import Case, canary
from support.bad_inputs.lies import objects_npy, torch_file

MAX_TEXT_BYTES = 1 << 20


def cases() -> Iterator[Case]:
    """Texts in ``txt``."""
    good = {
        "empty": b"",
        "blank": b" \n\t ",
        "plain": b"a low tone",
        "of one character": "高".encode(),
        "with a byte-order mark": "\ufeffa low tone".encode(),
        "of a byte-order mark alone": b"\xef\xbb\xbf",
        "with control characters": b"a \x1b[31mred\x07 tone\x7f\x01",
        "with lines of all kinds": b"a\r\nb\rc\nd\x0be\x0cf",
        "mis-decoded before": "fÃ¼r".encode(),
        "in many scripts": "tone τόνος тон 音 ធុន 🎵👩🏽‍🎤 é\u0301".encode(),
        "from right to left": "\u202eدرجة\u202c".encode(),
        "with marks of no width": "a\u200b\u200d\ufeffb".encode(),
        "of accents alone": ("\u0301" * 500).encode(),
        "beyond the last character": "\U0010ffff\ufffe\uffff".encode(),
        "of html": b"<!DOCTYPE html><p>a &amp; b &lt;</p>",
        "that is a pickle of protocol 0": canary(0),
        "of the largest size": b"a tone " * (MAX_TEXT_BYTES // 7),
        "of one long word": b"a" * 300_000,
        "of ampersands": b"&amp;" * 20_000,
    }
    for name, data in good.items():
        yield Case(f"text {name}", "txt", data, bomb="long" in name or "largest" in name)
    noise = random.Random(3)
    bad = {
        "latin-1": "für".encode("latin-1"),
        "cut inside a character": "高音".encode()[:-1],
        "utf-16": "a low tone".encode("utf-16"),
        "utf-16 without a mark": "a low tone".encode("utf-16-le"),
        "utf-32": "a low tone".encode("utf-32"),
        "gb18030": "低音".encode("gb18030"),
        "shift-jis": "低音".encode("shift-jis"),
        "surrogates": b"a \xed\xa0\x80 b",
        "surrogates in pairs": b"\xed\xa0\xbd\xed\xb8\x80",
        "overlong": b"\xc0\xaf",
        "beyond unicode": b"\xf4\x90\x80\x80",
        "of a lone continuation": b"a\x80",
        "of a lone start": b"a\xff",
        "of a nul": b"\0",
        "with a nul inside": b"a low\0tone",
        "with nuls behind it": b"a low tone" + bytes(100),
        "of noise": noise.randbytes(500),
        "that is a pickle": canary(4),
        "that is a pickle of protocol 2": canary(2),
        "that is an array of objects": objects_npy(),
        "that is a torch file": torch_file(),
        "that is a png": b"\x89PNG\r\n\x1a\n" + bytes(20),
    }
    for name, data in bad.items():
        yield Case(f"text {name}", "txt", data, "bad_text")
    yield Case("text bomb", "txt", b"a" * (MAX_TEXT_BYTES + 1), "too_large", bomb=True)


def json_cases() -> Iterator[Case]:
    """Metadata in ``json``."""
    deep = "[" * 64 + "]" * 64
    good = {
        "object": b'{"a": 1}',
        "scalar": b"7",
        "text": b'"x"',
        "null": b"null",
        "blank around": b" \r\n\t{} \n",
        "byte-order mark": b"\xef\xbb\xbf{}",
        "names twice": b'{"a": 1, "a": 2}',
        "64 levels": deep.encode(),
        "64 levels of objects": (b'{"a":' * 64 + b"1" + b"}" * 64),
        "many brackets, not deep": b"[" + b"[]," * 5000 + b"[]]",
        "brackets in a text": json.dumps("[{" * 5000).encode(),
        "quotes and brackets in a text": json.dumps('\\"[{' * 2000 + "\\").encode(),
        "a number of 5000 digits": b"9" * 5000,
        "a fraction of 5000 digits": b"0." + b"3" * 5000,
        "1e999": b"1e999",
        "surrogates in pairs": rb'"\ud83d\ude00"',
        "an escaped backslash before u": rb'"\\ud83d"',
        "a nul as an escape": rb'"a\u0000b"',
        "all escapes": rb'"\"\\\/\b\f\n\r\t\u00e9"',
        "a page in a text": json.dumps({"page": "<html>"}).encode(),
    }
    for name, data in good.items():
        yield Case(f"json {name}", "json", data, bomb="5000" in name)
    bad = {
        "empty": b"",
        "blank": b" \n",
        "a page": b"<html>",
        "a brace": b"{",
        "cut": b'{"a": [1, 2',
        "cut in a text": b'{"a": "b',
        "trailing comma": b"[1,]",
        "trailing data": b"{} {}",
        "lines": b'{"a": 1}\n{"a": 2}\n',
        "single quotes": b"{'a': 1}",
        "bare names": b"{a: 1}",
        "comments": b"{} // a",
        "nan": b'{"a": NaN}',
        "infinity": b"[Infinity]",
        "minus infinity": b"-Infinity",
        "hexadecimal": b"0x1F",
        "a leading zero": b"007",
        "a leading plus": b"+1",
        "a lone dot": b".5",
        "python": b"None",
        "control character in a text": b'"a\nb"',
        "a nul": b"{}\0",
        "an unknown escape": rb'"\x41"',
        "latin-1": '{"a": "für"}'.encode("latin-1"),
        "utf-16": '{"a": 1}'.encode("utf-16"),
        "a high surrogate": rb'"\ud83d"',
        "a low surrogate": rb'"\ude00"',
        "surrogates the wrong way": rb'"\ude00\ud83d"',
        "a surrogate in a name": rb'{"\ud83d": 1}',
        "a surrogate behind a backslash": rb'"\\\ud83d"',
        "65 levels": ("[" * 65 + "]" * 65).encode(),
        "65 levels of both kinds": b'[{"a":' * 33 + b"1" + b"}]" * 33,
        "a megabyte of brackets": b"[" * (1 << 20),
        "a megabyte of objects": b'{"a":' * (1 << 18),
        "a megabyte of closing brackets": b"[" * 70 + b"]" * (1 << 20),
        "a megabyte of escaped quotes": b"[" * 70 + b'"' + b'\\"' * (1 << 19),
        "a pickle": canary(4),
        "a pickle of protocol 0": canary(0),
        "an array of objects": objects_npy(),
    }
    for name, data in bad.items():
        yield Case(f"json {name}", "json", data, "bad_metadata", bomb="megabyte" in name)


def label_cases() -> Iterator[Case]:
    """Labels in ``cls``, which may be ``low``."""
    for name, data in {
        "plain": b"low",
        "with blanks": b" low\r\n",
        "with a mark": b"\xef\xbb\xbflow",
    }.items():
        yield Case(f"label {name}", "cls", data)
    for name, data in {
        "empty": b"",
        "blank": b" \n",
        "latin-1": b"l\xf6w",
        "a pickle": canary(4),
        "with a nul": b"low\0",
        "utf-16": "low".encode("utf-16"),
    }.items():
        yield Case(f"label {name}", "cls", data, "bad_label")
    for name, data in {
        "another": b"loud",
        "a page": b"<html>",
        "a pickle of protocol 0": canary(0),
    }.items():
        yield Case(f"label {name}", "cls", data, "unknown_label")


# JSON -> what the label `json.a.b` is, or why there is none.
JSON_LABELS: list[tuple[bytes, str, str]] = [
    (b'{"a": {"b": "low"}}', "low", ""),
    (b'{"a": {"b": 7}}', "7", ""),
    (b'{"a": {"b": 1.5}}', "1.5", ""),
    (b'{"a": {"b": ' + b"9" * 5000 + b"}}", "9" * 5000, ""),
    (b'{"a": {"b": 1, "b": 2}}', "2", ""),
    (b'{"a": {"b": 1e999}}', "", "bad_label"),
    (b'{"a": {"b": -1e999}}', "", "bad_label"),
    (b'{"a": {"b": NaN}}', "", "bad_label"),
    (b'{"a": {"b": true}}', "", "bad_label"),
    (b'{"a": {"b": null}}', "", "bad_label"),
    (b'{"a": {"b": [1]}}', "", "bad_label"),
    (rb'{"a": {"b": "\ud83d"}}', "", "bad_label"),
    (b"[" * 100_000, "", "bad_label"),
    (b'{"a": {}}', "", "missing_label"),
    (b'{"a": "b"}', "", "missing_label"),
    (b"[]", "", "missing_label"),
    (b"7", "", "missing_label"),
]
