"""Sounds with something odd about them that every player tolerates."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from support.bad_inputs import cuts, replaced
from support.bad_inputs.sound_files import (
    SOUND,
    encoded,
    fmt,
    frame_starts,
    multiplexed,
    recounted,
    resampled,
    tone,
    untagged,
    wav,
    written,
)


def noted() -> Iterator[tuple[str, str, bytes]]:
    """What every player tolerates: less than 1 % is missing, or nothing is."""
    whole = wav(fmt(), SOUND)
    for name, data in cuts(whole, 0.991, -1, -2):
        yield f"wav {name}", "noted_cut_end", data
    behind_a_tag = b"ID3\4\0\0\0\0\0\0" + whole[:-10]
    yield "wav in a .wav cut behind a tag", "noted_cut_end", behind_a_tag
    yield (
        "wav that declares one sample more",
        "noted_cut_end",
        wav(fmt(), SOUND, size=len(SOUND) + 2),
    )
    yield "wav rf64 cut", "noted_cut_end", written("RF64", "PCM_16")[:-2]
    yield "wav ulaw cut", "noted_cut_end", written("WAV", "ULAW")[:-1]
    yield "wav and much that is no chunk behind it", "noted_rest", whole + b"\xff\1\2\3" * 999
    for form in ("AIFF", "AU", "CAF", "W64"):
        yield f"{form.lower()} cut", "noted_cut_end", written(form, "PCM_16")[:-2]
    aiff = written("AIFF", "PCM_16")
    place = aiff.index(b"COMM") + 10
    yield "aiff that counts fewer", "noted_count", replaced(aiff, place, struct.pack(">I", 5000))
    flac = encoded(tone(40_000)[:, 0], "FLAC")
    for name, data in cuts(resampled(flac, 0), -1, -2000):
        yield f"flac that does not tell its length {name}", "noted_cut_end", data
    for name, data in cuts(encoded(tone(800_000)[:, 0], "FLAC"), -1):
        yield f"flac of 100 s {name}", "noted_cut_end", data
    yield from _mp3()
    yield "ogg of two streams beside each other", "noted_tracks", multiplexed(written("OGG"))


def _mp3() -> Iterator[tuple[str, str, bytes]]:
    whole = encoded(tone(40_000)[:, 0], "MP3", 16_000)
    starts, bare = frame_starts(whole), untagged(whole)
    for name, data in cuts(whole, -1, -20):
        yield f"mp3 {name}", "noted_cut_end", data
    for name, data in cuts(bare, 0.31, 0.61, -1, -2):
        yield f"mp3 without a count {name}", "noted_cut_end", data
    count = len(starts) - 1
    for wrong in (1, count // 2, count - 1, count + 1):
        yield f"mp3 that declares {wrong} of {count} frames", "noted_count", recounted(whole, wrong)
    long = encoded(tone(400_000)[:, 0], "MP3", 16_000)
    yield "mp3 of 25 s without three frames", "noted_count", long[: frame_starts(long)[-3]]
