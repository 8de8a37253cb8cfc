"""Files of other kinds, under an extension that is not theirs."""

from __future__ import annotations

import gzip
import io
import pickle
import random
import tarfile
import zipfile

import numpy as np

from support.bad_inputs import canary


def _zip(name: str, data: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(zipfile.ZipInfo(name), data)
    return file.getvalue()


def objects_npy() -> bytes:
    """An array of objects: a pickle behind NumPy's header."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        file, {"descr": "|O", "fortran_order": False, "shape": (1,)}
    )
    return file.getvalue() + canary()


def torch_file() -> bytes:
    """As ``torch.save`` lays it out: a zip with a pickle in it."""
    return _zip("archive/data.pkl", canary(2))


def _tar() -> bytes:
    return tarfile.TarInfo("a.txt").tobuf() + bytes(1024)


PAGE = b"<!DOCTYPE html><html><head><title>404 Not Found</title></head><body>gone</body></html>"
FOREIGN: list[tuple[str, bytes]] = [
    ("nothing", b""),
    ("one byte", b"\xff"),
    ("zeros", bytes(5000)),
    ("noise", random.Random(5).randbytes(3000)),
    ("a page", PAGE),
    ("an error of a server", b'{"error": {"code": 403, "message": "denied"}}'),
    ("xml", b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>'),
    ("a git-lfs pointer", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n"),
    ("a zip", _zip("a.txt", b"hello")),
    ("a gzip", gzip.compress(b"hello", mtime=0)),
    ("a pdf", b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n1 0 obj<<>>endobj\ntrailer<<>>\n%%EOF"),
    ("a program", b"\x7fELF\x02\x01\x01" + bytes(200)),
    ("a script", b"#!/bin/sh\nexit 1\n"),
    ("a tar", _tar()),
    ("an mp4", b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41" + bytes(100)),
    ("a pickle", canary()),
    ("a pickle of protocol 0", canary(0)),
    ("a pickle of numbers", pickle.dumps(list(range(100)), 5)),
    ("an array of objects", objects_npy()),
    ("a torch file", torch_file()),
]
NO_IMAGES = [
    *FOREIGN,
    ("postscript", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n"),
    ("a psd", b"8BPS\0\1" + bytes(6) + b"\0\3\0\0\0\x09\0\0\0\x09\0\x08\0\3" + bytes(60)),
    ("an icon", b"\0\0\1\0\1\0\1\1\0\0\1\0\x20\0\x30\0\0\0\x16\0\0\0" + bytes(48)),
    ("a ppm", b"P6 2 2 255\n" + bytes(12)),
    ("a drawing", b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'),
    ("a wav", b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0\1\0\1\0\x40\x1f\0\0\x80\x3e\0\0\2\0\x10\0data\0\0\0\0"),
]  # fmt: skip
