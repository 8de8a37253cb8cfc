"""Decoded clips as a strip of pictures, and as a small film that browsers play."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterable

import numpy as np
from PIL import Image

from pipeline.modalities.video.library import pyav

STRIP_SIDE = 96  # pixels of a picture of the strip, at most
STRIP_PICTURES = 8  # of more frames, some are left out
STRIP_COLOURS = 128  # of the whole strip, which keeps it small
PLAYER_SIDE = 192  # pixels of the film's longer side
PLAYER_SECONDS = 8  # that it shows of the beginning
PLAYER_RATE_HZ = 8
# VP8 is free of charge for everyone, and every browser plays it.
PLAYER_CODEC, PLAYER_FORMAT, PLAYER_BITS = "libvpx", "webm", 240_000


def strip_png(frames: np.ndarray) -> bytes:
    """Frames beside each other as PNG, in the order of time.

    Args:
        frames: uint8 (T, H, W, 3).
    """
    places = np.unique(np.linspace(0, max(0, len(frames) - 1), STRIP_PICTURES).round().astype(int))
    chosen = [Image.fromarray(frames[place]) for place in places if len(frames)]
    for picture in chosen:
        picture.thumbnail((STRIP_SIDE, STRIP_SIDE))
    width, height = chosen[0].size if chosen else (1, 1)
    strip = Image.new("RGB", (max(1, len(chosen) * (width + 1) - 1), height), "white")
    for place, picture in enumerate(chosen):
        strip.paste(picture, (place * (width + 1), 0))
    data = io.BytesIO()
    strip.quantize(STRIP_COLOURS).save(data, "PNG")
    return data.getvalue()


def player(pictures: Iterable[np.ndarray]) -> bytes:
    """Compresses pictures of one size to a film without sound.

    Args:
        pictures: (H, W, 3) uint8 each, H and W even; at least one, ``PLAYER_RATE_HZ`` a second.

    Returns:
        WebM.
    """
    av = pyav()
    data = io.BytesIO()
    pictures = iter(pictures)
    first = next(pictures)
    height, width = first.shape[:2]
    with av.open(data, "w", format=PLAYER_FORMAT) as container:
        stream = container.add_stream(PLAYER_CODEC, rate=PLAYER_RATE_HZ)
        stream.width, stream.height = width, height
        stream.pix_fmt, stream.bit_rate = "yuv420p", PLAYER_BITS
        stream.codec_context.thread_count = 1
        stream.codec_context.options = {"deadline": "realtime", "cpu-used": "8"}
        reformatter = av.video.reformatter.VideoReformatter()
        for picture in itertools.chain([first], pictures):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            planes = reformatter.reformat(frame, width=width, height=height, format="yuv420p")
            container.mux(stream.encode(planes))
        container.mux(stream.encode(None))
    return data.getvalue()
