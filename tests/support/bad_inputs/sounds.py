"""Sounds: whole ones of every kind, and those that are cut, flipped, forged, endless, or none."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator

import numpy as np
import soundfile

from support.bad_inputs import Case, canary, cuts, flipped, odd_sounds, replaced
from support.bad_inputs.lies import FOREIGN
from support.bad_inputs.sound_files import (
    RATE,
    SOUND,
    ape_tag,
    chunk,
    encoded,
    floats,
    fmt,
    frame_starts,
    recounted,
    resampled,
    resized,
    sealed,
    tone,
    untagged,
    wav,
    written,
)


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
    for name, noted, data in odd_sounds.noted():
        yield Case(f"{name}, noted", _extension(data), data, noted=noted)
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
    # What writers leave there that cannot go back to their beginning.
    for size in (0, 0x7FFF0000, 0x7FFFF000, 0x7FFFFFDB, 0x7FFFFFFE, 0x7FFFFFFF, 0x80000000,
                 0x80000024, 0xFFFFFF9B, 0xFFFFFFDB, 0xFFFFFFFE, 0xFFFFFFFF):  # fmt: skip
        yield f"wav streamed, {size:x}", wav(fmt(), SOUND, size=size)
        ulaw = written("WAV", "ULAW")
        yield f"wav ulaw streamed, {size:x}", resized(ulaw, b"data", struct.pack("<I", size))
        for form, at, packed in (
            ("AIFF", b"SSND", struct.pack(">I", size)),
            ("AU", b".snd\0\0\0\x18", struct.pack(">I", size)),
            ("CAF", b"data", struct.pack(">Q", size + 0xFFFFFFFF00000000 if size else 0)),
        ):
            if form != "CAF" or size >= 0xFFFF0000 or not size:
                data = resized(written(form, "PCM_16"), at, packed)
                yield f"{form.lower()} streamed, {size:x}", data
    for size in (0, (1 << 63) - 1, (1 << 64) - 1):
        data = replaced(written("RF64", "PCM_16"), 28, struct.pack("<Q", size))
        yield f"wav rf64 streamed, {size:x}", data
        w64 = written("W64", "PCM_16")
        yield f"w64 streamed, {size:x}", replaced(w64, w64.index(b"data") + 16, struct.pack("<Q", size))  # fmt: skip
    for bits, block in ((24, 4), (20, 4), (20, 3), (12, 2), (10, 2)):
        sound = (tone()[:, 0] * (1 << bits - 1)).astype(int) << 8 * block - bits
        raw = sound.astype("<i8").view(np.uint8).reshape(-1, 8)[:, :block].tobytes()
        yield f"wav of {bits} bits in {block} bytes", wav(fmt(bits=bits, block=block), raw)
    yield "wav behind a tag", b"ID3\4\0\0\0\0\0\x0a" + bytes(10) + wav(fmt(), SOUND)
    for subtype in ("PCM_S8", "PCM_16", "PCM_24"):
        yield f"flac {subtype}", written("FLAC", subtype, channels=2)
    flac = written("FLAC")
    yield "flac without a digest", replaced(flac, 26, bytes(16))
    yield "flac behind a tag", b"ID3\4\0\0\0\0\0\x0a" + bytes(10) + flac
    yield "flac in a .wav of silence", encoded(np.zeros(5000), "FLAC")
    yield "ogg vorbis", written("OGG", "VORBIS")
    yield "ogg vorbis in stereo", written("OGG", "VORBIS", 44_100, 2)
    yield "ogg opus", written("OGG", "OPUS", 48_000)
    yield "ogg of two streams, one after the other", written("OGG") + written("OGG", channels=2)
    yield "ogg opus of two streams", written("OGG", "OPUS", 48_000) * 2
    yield "ogg of silence", encoded(np.zeros(5000), "OGG")
    yield "ogg and bytes behind it", written("OGG") + b"more"
    mp3 = written("MP3", rate=16_000)
    yield "mp3", mp3
    yield "mp3 in stereo", written("MP3", rate=44_100, channels=2)
    yield "mp3 of silence", encoded(np.zeros(9000), "MP3", 16_000)
    yield "mp3 with tags", b"ID3\4\0\0\0\0\0\x0a" + bytes(10) + mp3 + b"TAG" + bytes(125)
    yield "mp3 with an ape tag", mp3 + ape_tag()
    yield "mp3 and zeros behind it", mp3 + bytes(777)
    yield "mp3 without a count", untagged(mp3)
    yield "mp3 and another", mp3 + written("MP3", rate=16_000, channels=2)
    yield "mp3 whose count was never written", recounted(mp3, 0)
    yield "flac that does not tell its length", resampled(flac, 0)
    yield "flac and another", flac + written("FLAC", "PCM_24", channels=2)
    yield "aiff", written("AIFF", "PCM_16")
    yield "aiff of 24 bits", written("AIFF", "PCM_24", channels=2)


def _bad_wav() -> Iterator[tuple[str, bytes]]:
    whole = wav(fmt(), SOUND)
    for name, data in cuts(whole, 0.5, 0.9, 0.989):
        yield f"wav {name}", data
    for length in (8, 12, 16, 20, 30, 36, 40, 44):
        yield f"wav cut after {length}", whole[:length]
    yield "wav and another", whole * 2
    yield "wav with two sounds", wav(fmt(), SOUND, after=chunk(b"data", SOUND))
    yield "wav of 24 bits at neither end of 4 bytes", wav(fmt(bits=24, block=4), SOUND)
    for size in (len(SOUND) * 102 // 100, 0x7FFE0000, 0x80020000, 0xFFFE0000, 1 << 30):
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
    for name, data in cuts(rf64, 0.5, 0.9):
        yield f"wav rf64 {name}", data
    yield "wav rf64 of 2^62 bytes", replaced(rf64, 28, struct.pack("<Q", 1 << 62))
    ulaw = written("WAV", "ULAW")
    for name, data in cuts(ulaw, 0.5, 0.9):
        yield f"wav ulaw {name}", data


def _bad_flac() -> Iterator[tuple[str, bytes]]:
    whole = encoded(tone(40_000)[:, 0], "FLAC")
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
        "without a digest that declares fewer samples": resampled(whole, 9000),
        "that does not tell its length, flipped": flipped(resampled(whole, 0), len(whole) // 2),
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
        yield f"ogg {kind}, bytes and another", whole + b"between" + whole
        yield f"ogg {kind} and another of another rate", whole + written("OGG", rate=11_025)
        lie = sealed(replaced(whole[last:], 6, struct.pack("<q", 99_999 + 120_000 * (rate > RATE))))
        yield f"ogg {kind} whose last page lies", whole[:last] + lie
        yield f"ogg {kind} with bytes between pages", whole[:last] + b"between" + whole[last:]


def _bad_mp3() -> Iterator[tuple[str, bytes]]:
    whole = encoded(tone(40_000)[:, 0], "MP3", 16_000)
    starts = frame_starts(whole)
    middle = starts[len(starts) // 2]
    bare = untagged(whole)
    for name, data in cuts(whole, 0.001, 0.3, 0.6, 0.9):
        yield f"mp3 {name}", data
    yield "mp3 without a count cut in its first frame", bare[:50]
    yield "mp3 and another of another rate", whole + written("MP3", rate=44_100)
    yield "mp3 without its last frame", whole[: starts[-1]]
    yield "mp3 without half of its frames", whole[:middle]
    yield "mp3 without its first half", whole[: starts[1]] + whole[middle:]
    yield "mp3 with a flipped frame header", flipped(whole, middle, 0x80)
    yield "mp3 with zeros inside", replaced(whole, middle, bytes(starts[1] - starts[0] + 30))
    yield "mp3 with bytes between frames", whole[:middle] + b"between frames" + whole[middle:]
    yield "mp3 with a piece gone", bare[: len(bare) // 2] + bare[len(bare) // 2 + 77 :]
    yield "mp3 of a tag alone", b"ID3\4\0\0\0\0\0\x0a" + bytes(10)
    yield "mp3 of a tag that is endless", b"ID3\4\0\0\x7f\x7f\x7f\x7f" + whole
    for count in (len(starts) + 9, 2 * len(starts), 0xFFFFFFFF):
        yield f"mp3 that claims {count} frames", recounted(whole, count)


def _bad_others() -> Iterator[tuple[str, bytes]]:
    aiff = written("AIFF", "PCM_16")
    for name, data in cuts(aiff, 0.002, 0.5, 0.98):
        yield f"aiff {name}", data
    for form in ("AU", "CAF", "W64"):
        for name, data in cuts(written(form, "PCM_16"), 0.5, 0.98):
            yield f"{form.lower()} {name}", data


def _too_long() -> Iterator[tuple[str, str, bytes]]:
    minutes = 31
    flac = encoded(np.zeros(minutes * 60 * RATE, np.int16), "FLAC")
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
    second = untagged(encoded(np.zeros(RATE), "MP3"))
    starts = frame_starts(second)
    frame = second[starts[-2] : starts[-1]]
    yield "mp3 bomb of 31 minutes", "mp3", frame * (minutes * 60 * RATE // 576)
    yield "wav bomb of an hour of bytes", "wav", wav(fmt(rate=1000, bits=8), bytes(3_600_000))
