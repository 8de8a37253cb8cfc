"""Small clips, made here: their frames differ, so that one taken for another is seen."""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from fractions import Fraction
from functools import cache
from typing import NamedTuple

import numpy as np
import pytest

av = pytest.importorskip("av")

RATE = 12


class Form(NamedTuple):
    """How a container is written: FFmpeg's name of it, its codec, and how that wants pixels."""

    container: str
    codec: str
    pixels: str = "yuv420p"
    options: tuple[tuple[str, str], ...] = ()


_H264 = (("g", "6"), ("bf", "2"), ("preset", "ultrafast"), ("x264-params", "scenecut=0"))
FORMS = {
    "mp4": Form("mp4", "libx264", options=_H264),
    "mkv": Form("matroska", "libx264", options=_H264),
    "webm": Form(
        "webm",
        "libvpx",
        options=(("g", "6"), ("auto-alt-ref", "1"), ("lag-in-frames", "8"), ("deadline", "good")),
    ),
    "avi": Form("avi", "mpeg4", options=(("g", "6"), ("bf", "0"))),
    "mov": Form("mov", "mpeg4", options=(("g", "6"), ("bf", "2"))),
    "gif": Form("gif", "gif", "rgb8"),
    "mjpeg": Form("mjpeg", "mjpeg", "yuvj420p"),
}


def picture(index: int, width: int = 64, height: int = 48) -> np.ndarray:
    """A bright bar that moves to the right over a ground that grows lighter, (H, W, 3) uint8."""
    pixels = np.full(
        (height, width, 3), (20 + 5 * index % 160, 60, 200 - 5 * index % 160), np.uint8
    )
    left = 4 * index % (width - 6)
    pixels[:, left : left + 6] = (250, 250, 40)
    return pixels


def encode(
    pictures: Sequence[np.ndarray],
    form: str = "mp4",
    *,
    stamps: Sequence[int] | None = None,
    tone_hz: float | None = None,
    options: Sequence[tuple[str, str]] = (),
) -> bytes:
    """Compresses pictures.

    Args:
        pictures: Of one size.
        form: Of :data:`FORMS`.
        stamps: When each is shown, in 1 / RATE s; one after the other unless given.
        tone_hz: Of a sound track as long as the pictures; none where None.
        options: Of the codec, beside those of the form.
    """
    container, codec, pixels, usual = FORMS[form]
    data = io.BytesIO()
    with av.open(data, "w", format=container) as out:
        stream = out.add_stream(codec, rate=RATE)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = pixels
        stream.codec_context.options = dict((*usual, *options))
        stream.codec_context.thread_count = 1
        sound = None if tone_hz is None else _add_sound(out, form)
        for index, values in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(values, format="rgb24").reformat(format=pixels)
            frame.pts = index if stamps is None else stamps[index]
            frame.time_base = Fraction(1, RATE)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
        if sound is not None and tone_hz is not None:
            _write_tone(out, sound, tone_hz, len(pictures) / RATE)
    return data.getvalue()


SOUND_RATE_HZ = 16000


def _add_sound(out, form):
    sound = out.add_stream(
        "libopus" if form == "webm" else "aac", rate=48000 if form == "webm" else SOUND_RATE_HZ
    )
    sound.codec_context.layout = "mono"
    return sound


def _write_tone(out, sound, tone_hz: float, seconds: float) -> None:
    rate = sound.codec_context.sample_rate
    time = np.arange(int(seconds * rate)) / rate
    samples = (0.5 * np.sin(2 * np.pi * tone_hz * time) * 32767).astype(np.int16)[None]
    frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
    fifo = av.AudioFifo()
    resampler = av.AudioResampler(format=sound.codec_context.format, layout="mono", rate=rate)
    for converted in resampler.resample(frame):
        fifo.write(converted)
    size = sound.codec_context.frame_size or 1024
    while (block := fifo.read(size, partial=True)) is not None:
        out.mux(sound.encode(block))
    out.mux(sound.encode(None))


@cache
def clip(form: str = "mp4", count: int = 24, width: int = 64, height: int = 48) -> bytes:
    """A clip of :func:`picture`, RATE a second."""
    return encode([picture(index, width, height) for index in range(count)], form)


@cache
def sounding(form: str = "mp4", tone_hz: float = 440.0, count: int = 12) -> bytes:
    """A clip with a tone."""
    return encode([picture(index) for index in range(count)], form, tone_hz=tone_hz)


@cache
def of_sound_alone() -> bytes:
    """An MP4 without frames."""
    data = io.BytesIO()
    with av.open(data, "w", format="mp4") as out:
        sound = _add_sound(out, "mp4")
        _write_tone(out, sound, 440.0, 0.5)
    return data.getvalue()


def turned(mp4: bytes, quarters: int) -> bytes:
    """The same MP4 whose header says that it is shown turned by so many quarters, clockwise.

    Source: ISO/IEC 14496-12:2022, 8.3.2 (track header): the matrix in 16.16 numbers, 40 bytes behind the flags.
    """
    cosine, sine = ((1, 0), (0, 1), (-1, 0), (0, -1))[quarters % 4]
    matrix = struct.pack(
        ">9i", cosine << 16, sine << 16, 0, -sine << 16, cosine << 16, 0, 0, 0, 1 << 30
    )
    place = mp4.index(b"tkhd") + 4 + 40
    return mp4[:place] + matrix + mp4[place + len(matrix) :]


def reference(data: bytes, places: Sequence[int], size: int) -> list[np.ndarray]:
    """Those frames of a clip, (size, size, 3) uint8 each: everything is decoded, and what is not asked for let go."""
    reformatter = av.video.reformatter.VideoReformatter()
    wanted, squares = set(places), []
    with av.open(io.BytesIO(data)) as container:
        for index, frame in enumerate(container.decode(video=0)):
            if index in wanted:
                scale = size / min(frame.width, frame.height)
                width, height = (
                    max(size, round(side * scale)) for side in (frame.width, frame.height)
                )
                small = reformatter.reformat(
                    frame, width, height, "rgb24", interpolation="BICUBIC"
                ).to_ndarray()
                top, left = (height - size) // 2, (width - size) // 2
                squares.append(small[top : top + size, left : left + size])
                if index == max(places):
                    break
    return squares


def count_frames(data: bytes) -> int:
    """How many frames come out of a clip."""
    with av.open(io.BytesIO(data)) as container:
        return sum(1 for _ in container.decode(video=0))
