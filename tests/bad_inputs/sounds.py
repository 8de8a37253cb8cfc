"""Sounds: whole ones of every kind, and those that are cut, flipped, forged, endless, or none."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from functools import cache

import numpy as np
import soundfile

from bad_inputs import Case, canary, cuts, flipped, replaced
from bad_inputs.lies import FOREIGN

RATE = 8000
SUBFORMAT = bytes.fromhex("0000 0000 1000 8000 00aa 0038 9b71")


@cache
def tone(count: int = 6000, channels: int = 1) -> np.ndarray:
    """(T, channels) float64."""
    rng = np.random.default_rng(1)
    time = np.arange(count)[:, None]
    return 0.4 * np.sin(time * 0.2 + np.arange(channels)) + rng.normal(0, 0.02, (count, channels))


def written(form: str, subtype: str | None = None, rate: int = RATE, channels: int = 1) -> bytes:
    data = io.BytesIO()
    soundfile.write(data, tone(channels=channels), rate, format=form, subtype=subtype)
    return data.getvalue()


def chunk(name: bytes, content: bytes, size: int | None = None) -> bytes:
    return name + struct.pack("<I", len(content) if size is None else size) + content


def wav(
    fmt: bytes, sound: bytes, *, size: int | None = None, before: bytes = b"", after: bytes = b""
) -> bytes:
    body = b"WAVE" + before + chunk(b"fmt ", fmt) + chunk(b"data", sound, size) + after
    return b"RIFF" + struct.pack("<I", len(body)) + body


def fmt(
    code: int = 1, channels: int = 1, rate: int = RATE, bits: int = 16, block: int = -1
) -> bytes:
    block = channels * bits // 8 if block < 0 else block
    byte_rate = rate * block & 0xFFFFFFFF
    return struct.pack("<HHIIHH", code, channels, rate, byte_rate, block, bits)


def floats(*values: float, kind: str = "<f4") -> bytes:
    return np.tile(np.array(values, kind), 500).tobytes()


SOUND = (tone()[:, 0] * 30000).astype("<i2").tobytes()


def cases() -> Iterator[Case]:
    for name, data in _good():
        yield Case(f"{name}, a good sound", _extension(data), data)
    for name, data in FOREIGN:
        for field in ("wav", "mp3"):
            yield Case(f"{name} as {field}", field, data, "bad_audio")
    for field in ("flac", "ogg", "aiff"):
        yield Case(f"pickle as {field}", field, canary(), "bad_audio", "pickle")
    for name, data in [*_bad_wav(), *_bad_flac(), *_bad_ogg(), *_bad_mp3(), *_bad_others()]:
        yield Case(name, _extension(data), data, "bad_audio")
    for name, field, data in _too_long():
        yield Case(name, field, data, "too_large", bomb=True)


def _extension(data: bytes) -> str:
    known = {b"fLaC": "flac", b"OggS": "ogg", b"FORM": "aiff", b"RIFF": "wav", b"RF64": "wav"}
    return known.get(data[:4], "mp3" if data[:1] == b"\xff" or data[:3] == b"ID3" else "wav")


def _good() -> Iterator[tuple[str, bytes]]:
    for subtype in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"):
        yield f"wav {subtype}", written("WAV", subtype)
    for rate in (8000, 11_025, 22_050, 44_100, 48_000, 96_000, 192_000):
        yield f"wav of {rate} Hz", written("WAV", "PCM_16", rate)
    for channels in (2, 6, 32):
        yield f"wav of {channels} channels", written("WAV", "PCM_16", channels=channels)
    yield "wav extensible", written("WAVEX", "PCM_24", channels=6)
    yield "wav rf64", written("RF64", "PCM_16")
    yield "wav of one sample", wav(fmt(), b"\1\2")
    yield "wav of silence", wav(fmt(), bytes(8000))
    yield "wav beyond full scale", wav(fmt(3, bits=32), floats(3.5, -7.0))
    yield "wav after an odd chunk", wav(fmt(), SOUND, before=chunk(b"LIST", b"abc") + b"\0")
    yield "wav before an odd chunk", wav(fmt(), SOUND, after=chunk(b"LIST", b"abc") + b"\0")
    yield "wav and bytes behind it", wav(fmt(), SOUND) + b"more" * 9
    yield "wav streamed", wav(fmt(), SOUND, size=0xFFFFFFFF)
    yield "wav streamed, 0", wav(fmt(), SOUND, size=0)
    yield "wav behind a tag", b"ID3\4\0\0\0\0\0\x0a" + bytes(10) + wav(fmt(), SOUND)
    for subtype in ("PCM_S8", "PCM_16", "PCM_24"):
        yield f"flac {subtype}", written("FLAC", subtype, channels=2)
    flac = written("FLAC")
    yield "flac without a digest", replaced(flac, 26, bytes(16))
    yield "flac behind a tag", b"ID3\4\0\0\0\0\0\x0a" + bytes(10) + flac
    yield "flac in a .wav of silence", _of(np.zeros(5000), "FLAC")
    yield "ogg vorbis", written("OGG", "VORBIS")
    yield "ogg vorbis in stereo", written("OGG", "VORBIS", 44_100, 2)
    yield "ogg opus", written("OGG", "OPUS", 48_000)
    yield "ogg of silence", _of(np.zeros(5000), "OGG")
    yield "ogg and bytes behind it", written("OGG") + b"more"
    mp3 = written("MP3", rate=16_000)
    yield "mp3", mp3
    yield "mp3 in stereo", written("MP3", rate=44_100, channels=2)
    yield "mp3 of silence", _of(np.zeros(9000), "MP3", 16_000)
    yield "mp3 with tags", b"ID3\4\0\0\0\0\0\x0a" + bytes(10) + mp3 + b"TAG" + bytes(125)
    yield "mp3 with an ape tag", mp3 + _ape_tag()
    yield "mp3 and zeros behind it", mp3 + bytes(777)
    yield "mp3 without a count", untagged(mp3)
    yield "aiff", written("AIFF", "PCM_16")
    yield "aiff of 24 bits", written("AIFF", "PCM_24", channels=2)


def _of(sound: np.ndarray, form: str, rate: int = RATE) -> bytes:
    data = io.BytesIO()
    soundfile.write(data, sound, rate, format=form)
    return data.getvalue()


def _ape_tag() -> bytes:
    return (
        b"APETAGEX"
        + struct.pack("<IIII8x", 2000, 42, 0, 1 << 31 | 1 << 29)
        + bytes(10)
        + (b"APETAGEX" + struct.pack("<IIII8x", 2000, 42, 0, 1 << 31))
    )


def frame_starts(mp3: bytes) -> list[int]:
    """Where the frames of an MP3 of 16 kHz begin."""
    from pipeline.modalities.audio import mp3 as module

    data = memoryview(mp3)
    offset = module._first_frame(data, module.after_id3(data))
    kind, found = module._kind(data, offset), []
    while size := module._frame_bytes(data, offset, kind):
        found.append(offset)
        offset += size
    return found


def untagged(mp3: bytes) -> bytes:
    """An MP3 without its first frame, which holds the count."""
    return mp3[frame_starts(mp3)[1] :]


def _bad_wav() -> Iterator[tuple[str, bytes]]:
    whole = wav(fmt(), SOUND)
    for name, data in cuts(whole, 0.5, 0.9, -1, -2):
        yield f"wav {name}", data
    for length in (8, 12, 16, 20, 30, 36, 40, 44):
        yield f"wav cut after {length}", whole[:length]
    yield "wav in a .wav cut behind a tag", b"ID3\4\0\0\0\0\0\0" + whole[:-10]
    for size in (len(SOUND) + 2, 0x7FFFFFFE, 0xFFFFFFFE, 0x80000000):
        yield f"wav that declares {size:x}", wav(fmt(), SOUND, size=size)
    for name, layout in {
        "of no channels": fmt(channels=0, block=2),
        "of 65535 channels": fmt(channels=65_535, block=2),
        "of 0 Hz": fmt(rate=0),
        "of 4 GHz": fmt(rate=0xFFFFFFFF),
        "of 2 GHz": fmt(rate=0x7FFFFFFF),
        "of 0 bits": fmt(bits=0, block=2),
        "of 999 bits": fmt(bits=999, block=2),
        "whose blocks do not fit": fmt(block=3),
        "whose blocks are empty": fmt(block=0),
        "of an unknown code": fmt(code=0x4242),
        "whose format is cut": fmt()[:10],
        "of an unknown sub-format": struct.pack("<HHIIHHHHI", 0xFFFE, 1, RATE, 16_000, 2, 16, 22, 16, 4)
        + b"\x77" * 16,
    }.items():  # fmt: skip
        yield f"wav {name}", wav(layout, SOUND)
    yield "wav without samples", wav(fmt(), b"")
    yield "wav with half a sample", wav(fmt(), b"\1")
    yield "wav without a format", b"RIFF\0\0\0\0WAVE" + chunk(b"data", SOUND)
    yield "wav without sound", b"RIFF\0\0\0\0WAVE" + chunk(b"fmt ", fmt())
    yield (
        "wav whose first chunk is endless",
        wav(fmt(), SOUND, before=chunk(b"LIST", b"", 0xFFFFFFF0)),
    )
    for name, values in {"nan": (0.1, np.nan), "infinity": (0.1, -np.inf)}.items():
        yield f"wav with {name}", wav(fmt(3, bits=32), floats(*values))
        yield f"wav with {name} of 64 bits", wav(fmt(3, bits=64), floats(*values, kind="<f8"))
    yield "wav too loud for a float", wav(fmt(3, bits=64), floats(0.1, 1e300, kind="<f8"))
    yield "wav with nan at its end", wav(fmt(3, bits=32), floats(0.1) * 20 + floats(np.nan))
    rf64 = written("RF64", "PCM_16")
    for name, data in cuts(rf64, 0.5, -2):
        yield f"wav rf64 {name}", data
    yield "wav rf64 of 2^62 bytes", replaced(rf64, 28, struct.pack("<Q", 1 << 62))
    ulaw = written("WAV", "ULAW")
    for name, data in cuts(ulaw, 0.5, -1):
        yield f"wav ulaw {name}", data


def _bad_flac() -> Iterator[tuple[str, bytes]]:
    whole = _of(tone(40_000)[:, 0], "FLAC")
    for name, data in cuts(whole, 0.0005, 0.01, 0.3, 0.6, 0.9, -1, -2):
        yield f"flac {name}", data
    for share in (0.3, 0.5, 0.7, 0.9):
        yield f"flac flipped at {share}", flipped(whole, int(share * len(whole)))
    packed = int.from_bytes(whole[18:26], "big")
    rates = packed & ((1 << 44) - 1)
    forged = {
        "of another digest": flipped(whole, 30),
        "with zeros inside": replaced(whole, len(whole) // 2, bytes(400)),
        "with a piece gone": whole[: len(whole) // 2] + whole[len(whole) // 2 + 3000 :],
        "with a piece twice": whole[: len(whole) // 2] + whole[len(whole) // 4 :],
        "of 0 Hz": replaced(whole, 18, rates.to_bytes(8, "big")),
        "that declares fewer samples": replaced(whole, 18, (packed - 9000).to_bytes(8, "big")),
        "that declares more samples": replaced(whole, 18, (packed + 9000).to_bytes(8, "big")),
        "without a digest, cut": replaced(whole, 26, bytes(16))[: len(whole) // 2],
        "without a digest, flipped": flipped(replaced(whole, 26, bytes(16)), len(whole) // 2),
    }
    for name, data in forged.items():
        yield f"flac {name}", data


def _bad_ogg() -> Iterator[tuple[str, bytes]]:
    for subtype, rate in (("VORBIS", RATE), ("OPUS", 48_000)):
        data = io.BytesIO()
        soundfile.write(data, tone(60_000)[:, 0], rate, format="OGG", subtype=subtype)
        whole, kind = data.getvalue(), subtype.lower()
        for name, cut in cuts(whole, 0.005, 0.2, 0.5, 0.9, -1):
            yield f"ogg {kind} {name}", cut
        for share in (0.3, 0.6, 0.95):
            yield f"ogg {kind} flipped at {share}", flipped(whole, int(share * len(whole)))
        last = whole.rindex(b"OggS")
        yield f"ogg {kind} without its last page", whole[:last]
        pages = whole.split(b"OggS")
        yield f"ogg {kind} with a page gone", b"OggS".join([*pages[:4], *pages[5:]])
        yield f"ogg {kind} with zeros inside", replaced(whole, len(whole) // 2, bytes(300))
        yield f"ogg {kind} with bytes between pages", whole[:last] + b"between" + whole[last:]


def _bad_mp3() -> Iterator[tuple[str, bytes]]:
    whole = _of(tone(40_000)[:, 0], "MP3", 16_000)
    starts = frame_starts(whole)
    middle = starts[len(starts) // 2]
    bare = untagged(whole)
    for name, data in cuts(whole, 0.001, 0.3, 0.6, 0.9, -1):
        yield f"mp3 {name}", data
    for name, data in cuts(bare, 0.31, 0.61, -1, -2):
        yield f"mp3 without a count {name}", data
    yield "mp3 without its last frame", whole[: starts[-1]]
    yield "mp3 without half of its frames", whole[:middle]
    yield "mp3 without its first half", whole[: starts[1]] + whole[middle:]
    yield "mp3 with a flipped frame header", flipped(whole, middle, 0x80)
    yield "mp3 with zeros inside", replaced(whole, middle, bytes(starts[1] - starts[0] + 30))
    yield "mp3 with bytes between frames", whole[:middle] + b"between frames" + whole[middle:]
    yield "mp3 with a piece gone", bare[: len(bare) // 2] + bare[len(bare) // 2 + 77 :]
    yield "mp3 of a tag alone", b"ID3\4\0\0\0\0\0\x0a" + bytes(10)
    yield "mp3 of a tag that is endless", b"ID3\4\0\0\x7f\x7f\x7f\x7f" + whole
    info = whole.index(b"Info") if b"Info" in whole else whole.index(b"Xing")
    yield "mp3 that claims 2^32-1 frames", replaced(whole, info + 8, b"\xff" * 4)


def _bad_others() -> Iterator[tuple[str, bytes]]:
    aiff = written("AIFF", "PCM_16")
    for name, data in cuts(aiff, 0.002, 0.5, -2):
        yield f"aiff {name}", data
    for form in ("AU", "CAF", "W64"):
        for name, data in cuts(written(form, "PCM_16"), 0.5, -2):
            yield f"{form.lower()} {name}", data


def _too_long() -> Iterator[tuple[str, str, bytes]]:
    minutes = 31
    flac = _of(np.zeros(minutes * 60 * RATE, np.int16), "FLAC")
    packed = int.from_bytes(flac[18:26], "big") >> 36 << 36
    yield "flac bomb of 31 minutes", "flac", flac
    unknown = replaced(replaced(flac, 18, packed.to_bytes(8, "big")), 26, bytes(16))
    yield "flac bomb that does not say its length", "flac", unknown
    samples = int.from_bytes(flac[18:26], "big") | ((1 << 36) - 1)
    yield (
        "flac bomb that claims 2^36-1 samples",
        "flac",
        replaced(flac, 18, samples.to_bytes(8, "big")),
    )
    second = untagged(_of(np.zeros(RATE), "MP3"))
    starts = frame_starts(second)
    frame = second[starts[-2] : starts[-1]]
    yield "mp3 bomb of 31 minutes", "mp3", frame * (minutes * 60 * RATE // 576)
    yield "wav bomb of an hour of bytes", "wav", wav(fmt(rate=1000, bits=8), bytes(3_600_000))
