"""Sounds in chunks, beside plain WAV: whether as many bytes are there as they declare. libsndfile takes what there is.

Where a header does not know the length, it is put right; libsndfile would stop at once, or refuse the file.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import NamedTuple

from pipeline.modalities.audio.containers.layout import (
    COUNT,
    Layout,
    Remark,
    Stretch,
    is_unknown,
    patched,
    shortage,
)
from pipeline.modalities.audio.containers.mp3 import walk_mp3

_W64_RIFF = b"riff" + bytes.fromhex("2e91cf11a5d628db04c10000")
_W64_TAIL = bytes.fromhex("f3acd3118cd100c04f8edb8a")
_LINEAR = (1, 3, 6, 7)  # PCM, floats, A-law and mu-law: as many bytes as samples, times a number
_ADPCM, _MPEG, _EXTENSIBLE = (2, 0x11), (0x50, 0x55), 0xFFFE
_FORMAT_BYTES = 512  # more than any format has
_AU_BYTES = {1: 1, 2: 1, 3: 2, 4: 3, 5: 4, 6: 4, 7: 8, 27: 1}


class Coding(NamedTuple):
    """How samples are coded.

    Attributes:
        frame_bytes: Of one sample of all channels, or of one block; 0 where they are not all of one size.
        frame_samples: Of each channel, in one of these.
        code: In a WAV.
    """

    frame_bytes: int = 0
    frame_samples: int = 1
    code: int = 0


class Sound(NamedTuple):
    """Where the samples lie.

    Attributes:
        size_at: Offset of the size that declares them.
        size_form: How it is packed.
        extra: Bytes that it counts and that are no samples, or the other way round where negative.
        start: Offset of the first sample.
        coding: How the samples are coded, as far as it matters here.
        told: Samples of each channel by another field; None where there is none.
        form: The format of a W64, as a WAV has it.
    """

    size_at: int
    size_form: str
    extra: int
    start: int
    coding: Coding
    declared: int | None = None
    form: bytes = b""


def walk_chunks(data: memoryview) -> Layout:
    """Holds the declared size of the sound in an AIFF, AU, CAF, W64, RF64 or WAV against the bytes that are there.

    Raises:
        ValueError: More than 1 % of them is missing.

    Source: AIFF-C, Apple 1991; Core Audio Format 1.0, Apple; Sony Wave64 (Sonic Foundry 1999); RIFF WAVE; RF64, EBU
    Tech 3306; .au, Sun.
    """
    head = bytes(data[:4])
    find = _FINDERS.get(head)
    sound = find(data) if find else None
    if sound is None:
        return Layout([Stretch(data)])
    [size] = struct.unpack_from(sound.size_form, data, sound.size_at)
    bits = 8 * struct.calcsize(sound.size_form)
    declared, held = size - sound.extra, len(data) - sound.start
    remark, content = None, data
    empty = not declared and _begins_chunk(data, sound.start, sound.size_form[0])
    if not empty and (is_unknown(size, held, bits) or not declared):
        declared = max(0, held)
    else:
        remark = shortage("the file", declared, held, frame=max(1, sound.coding.frame_bytes))
    if sound.coding.code in _MPEG:  # it is all there, frame by frame
        layout = walk_mp3(data[sound.start : sound.start + declared])
        return layout._replace(remark=layout.remark or remark)
    if declared != size - sound.extra or remark:
        declared = min(declared, held)
        fixed = struct.pack(sound.size_form, declared + sound.extra)
        content = memoryview(patched(data, sound.size_at, fixed))
    if sound.form:
        content = memoryview(_as_wav(sound.form, content[sound.start : sound.start + declared]))
    samples = None
    if sound.coding.frame_bytes:
        samples = declared // sound.coding.frame_bytes * sound.coding.frame_samples
        remark = remark or _check_count(sound, samples)
    return Layout([Stretch(content, samples)], remark)


def _as_wav(form: bytes, sound: memoryview) -> bytes:
    """A W64 as a WAV: of a W64 whose format is extensible, libsndfile takes floats for whole numbers."""
    head = struct.pack("<4sI", b"fmt ", len(form)) + form
    head += struct.pack("<4sI", b"data", len(sound))
    return b"".join(
        [struct.pack("<4sI4s", b"RIFF", 4 + len(head) + len(sound), b"WAVE"), head, sound]
    )


def _begins_chunk(data: memoryview, offset: int, order: str) -> bool:
    """Whether a chunk begins here that ends within the file: then one of 0 bytes before it is empty."""
    if offset + 8 > len(data):
        return False
    name, size = struct.unpack_from(f"{order}4sI", data, offset)
    is_name: bool = name.isascii() and name.decode().isprintable()
    return is_name and offset + 8 + size <= len(data)


def _check_count(sound: Sound, samples: int) -> Remark | None:
    """Holds another field's number of samples against that of the bytes."""
    if sound.declared is None or is_unknown(sound.declared, samples):
        return None
    if sound.declared > samples:
        return shortage("the file", sound.declared, samples, unit="samples")
    if sound.declared < samples:
        words = f"the file declares {sound.declared} samples and holds {samples}"
        return Remark(COUNT, words)
    return None


def _find_aiff(data: memoryview) -> Sound | None:
    frame_bytes, count = 0, None
    for name, at, start in _chunks(data, 12, ">"):
        if name == b"COMM" and start + 18 <= len(data):
            channels, count, bits = struct.unpack_from(">HIH", data, start)
            kind = bytes(data[start + 18 : start + 22])
            is_readable = bytes(data[8:12]) == b"AIFF" or kind in (
                b"NONE",
                b"sowt",
                b"twos",
                b"raw ",
            )
            frame_bytes = channels * -(-bits // 8) if is_readable else 0
        elif name == b"SSND":
            count = count if frame_bytes else None
            return Sound(at, ">I", 8, start + 8, Coding(frame_bytes), count)
    return None


def _find_riff(data: memoryview, order: str = "<", offset: int = 12) -> Sound | None:
    coding, long_at = Coding(), None
    for name, at, start in _chunks(data, offset, order):
        if name == b"fmt " and start + 16 <= len(data):
            coding = _coding(data[start : start + 40], order)
        elif name == b"ds64" and start + 16 <= len(data):
            long_at = start + 8
        elif name == b"data":
            if long_at is not None:
                return Sound(long_at, order + "Q", 0, start, coding)
            return Sound(at, order + "I", 0, start, coding)
    return None


def _find_w64(data: memoryview) -> Sound | None:
    """Sizes are of 64 bits, and count the 24 bytes of their own header; chunks begin at multiples of 8."""
    offset, form = 40, b""
    if bytes(data[:16]) != _W64_RIFF:
        return None
    while offset + 24 <= len(data):
        name, tail = bytes(data[offset : offset + 4]), bytes(data[offset + 4 : offset + 16])
        [size] = struct.unpack_from("<Q", data, offset + 16)
        if tail == _W64_TAIL and name == b"fmt ":
            form = bytes(data[offset + 24 : offset + min(size, 24 + _FORMAT_BYTES)])
        elif tail == _W64_TAIL and name == b"data":
            coding = _coding(memoryview(form), "<")
            return Sound(offset + 16, "<Q", 24, offset + 24, coding, form=form)
        offset += max(24, size + 7 & ~7)
    return None


def _find_caf(data: memoryview) -> Sound | None:
    coding, offset = Coding(), 8
    while offset + 12 <= len(data):
        name = bytes(data[offset : offset + 4])
        [size] = struct.unpack_from(">Q", data, offset + 4)
        if name == b"desc" and offset + 44 <= len(data):
            coding = Coding(*struct.unpack_from(">II", data, offset + 28))
        elif name == b"data":
            return Sound(offset + 4, ">Q", 4, offset + 16, coding)
        offset += 12 + size
    return None


def _find_au(data: memoryview) -> Sound | None:
    if len(data) < 24:
        return None
    start, _, code, _, channels = struct.unpack_from(">IIIII", data, 4)
    return Sound(8, ">I", 0, start, Coding(_AU_BYTES.get(code, 0) * channels))


def _chunks(data: memoryview, offset: int, order: str) -> Iterator[tuple[bytes, int, int]]:
    """Name, offset of the size, and offset of the content of each chunk; sizes are even."""
    while offset + 8 <= len(data):
        name, size = struct.unpack_from(f"{order}4sI", data, offset)
        yield name, offset + 4, offset + 8
        offset += 8 + size + size % 2


def _coding(chunk: memoryview, order: str) -> Coding:
    """From a WAV's format."""
    if len(chunk) < 16:
        return Coding()
    code, block = struct.unpack_from(f"{order}H10xH", chunk)
    if code == _EXTENSIBLE and len(chunk) >= 26:
        [code] = struct.unpack_from(f"{order}H", chunk, 24)
    if code in _LINEAR:
        return Coding(block, 1, code)
    if code in _ADPCM and len(chunk) >= 20:
        [samples] = struct.unpack_from(f"{order}H", chunk, 18)
        return Coding(block, samples, code)
    return Coding(code=code)


_FINDERS: Mapping[bytes, Callable[[memoryview], Sound | None]] = {
    b"FORM": _find_aiff,
    b"RIFF": _find_riff,
    b"RIFX": partial(_find_riff, order=">"),
    b"RF64": _find_riff,
    b"riff": _find_w64,
    b"caff": _find_caf,
    b".snd": _find_au,
}
CHUNKED = tuple(_FINDERS)
