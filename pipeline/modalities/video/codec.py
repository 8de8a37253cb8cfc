"""Bytes of a clip -> uint8 RGB frames, in one array of one size."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.errors import SampleError
from pipeline.modalities.base import Decoded, Dense, Item
from pipeline.modalities.codecs import decode_each, dense_column, fixed_size_column
from pipeline.modalities.content import SNIFFED_BYTES, Content, sniff
from pipeline.modalities.decoding.foreign import Refusing
from pipeline.modalities.shown import Film
from pipeline.modalities.video.containers import Header, read_header
from pipeline.modalities.video.frames import are_there, marked
from pipeline.modalities.video.library import MODULES, opened
from pipeline.modalities.video.pixels import CHANNELS, Reformatter, Square
from pipeline.modalities.video.reading import Bounds, Clip
from pipeline.modalities.video.sampling import Sampling
from pipeline.modalities.video.show import (
    PLAYER_RATE_HZ,
    PLAYER_SECONDS,
    PLAYER_SIDE,
    player,
    strip_png,
)


class VideoCodec:
    """Decodes a clip to (N, H, W, 3) uint8 RGB, N the places that its sampling has.

    Frames are turned upright, their short side is resized, and the centre is kept. A place that the clip has no frame
    for is zeros; a frame that is black all over has a level of 1 in one pixel, so that no frame is taken for none.

    Args:
        sampling: Which frames are kept.
        square: What becomes of each.
        bounds: What a clip may take.
    """

    def __init__(self, sampling: Sampling, square: Square, bounds: Bounds) -> None:
        self.sampling = sampling
        self.square = square
        self.bounds = bounds
        self._reformatter: Reformatter | None = None

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(N, H, W, C)."""
        return (self.sampling.places, self.square.size, self.square.size, CHANNELS)

    @property
    def column(self) -> pa.Field:
        """``video``: fixed_size_list<uint8>[N * H * W * C]."""
        kind = pa.list_(pa.uint8(), math.prod(self.shape))
        return pa.field("video", kind, metadata={"shape": ",".join(map(str, self.shape))})

    def empty(self, count: int) -> np.ndarray:
        """(count, N, H, W, C) uint8, not initialised."""
        return np.empty((count, *self.shape), dtype=np.uint8)

    def modules(self, fields: Sequence[str]) -> Sequence[str]:
        """See :class:`pipeline.modalities.base.Codec`."""
        return MODULES

    def decode(self, data: memoryview, field: str) -> np.ndarray:
        """Decodes one clip to (N, H, W, 3) uint8.

        Raises:
            SampleError: Not a clip, damaged, ending early, without frames, or over a limit.
        """
        self._check_header(data, field)
        with Refusing("bad_video", field, "the video"), opened(data) as container:
            clip = Clip(container, self.bounds, field)
            values = np.zeros(self.shape, dtype=np.uint8)
            chosen = self.sampling.choose(clip.begins, clip.end)
            [places] = np.nonzero(chosen >= 0)
            frames = clip.frames(chosen[places].tolist())
            for place, frame in zip(places, frames, strict=True):
                values[place] = self._tool().square(frame)
                marked(values[place])
            return values

    def decode_batch(
        self, items: Sequence[Item], out: Sequence[np.ndarray] | None = None
    ) -> list[Decoded]:
        """Decodes clips to (N, H, W, 3) uint8, in ``out`` where it is given."""
        return decode_each(self, items, out)

    def show(self, data: memoryview, field: str) -> bytes:
        """The strip of the frames that a model is given, and a short film of the clip; see :class:`Film`.

        Raises:
            SampleError: As :meth:`decode`.
        """
        values = self.decode(data, field)
        strip = strip_png(values[are_there(values)])
        with Refusing("bad_video", field, "the video"), opened(data) as container:
            clip = Clip(container, self.bounds, field)
            film = player(self._film(clip))
        return Film(strip, film).to_bytes()

    def _film(self, clip: Clip) -> Iterator[np.ndarray]:
        """Frames of the beginning, at an even rate."""
        sampling = Sampling(PLAYER_SECONDS * PLAYER_RATE_HZ, rate_hz=PLAYER_RATE_HZ)
        chosen = sampling.choose(clip.begins, clip.end)
        frames = clip.frames(chosen[chosen >= 0].tolist())
        picture = None
        for place in chosen[: max(1, math.ceil(clip.seconds * PLAYER_RATE_HZ))].tolist():
            if place >= 0 or picture is None:  # else the frame before is shown on
                picture = self._tool().within(next(frames), PLAYER_SIDE)
            yield picture

    def _check_header(self, data: memoryview, field: str) -> None:
        found = sniff(bytes(data[:SNIFFED_BYTES]))
        header = read_header(Content(len(data), data), found)
        if header is not None:
            fault = fault_of(header, self.bounds, field)
            if fault is not None:
                raise fault

    def _tool(self) -> Reformatter:
        if self._reformatter is None:
            self._reformatter = Reformatter(self.square)
        return self._reformatter

    def to_arrow(self, values: Sequence[np.ndarray | None]) -> pa.Array:
        """(N, H, W, 3) uint8 arrays -> a column, null where None."""
        return fixed_size_column(values, self.column, np.uint8)

    def collate(self, column: pa.Array) -> Dense:
        """A column -> (B, N, H, W, 3) uint8 and its presence."""
        return dense_column(column, self.shape)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_reformatter": None}


def fault_of(header: Header, bounds: Bounds, field: str) -> SampleError | None:
    """Why decoding is bound to fail, by a header; None where it does not tell."""
    try:
        bounds.check_seconds(header.seconds, field)
        bounds.check_pixels(header.width, header.height, field)
        bounds.check_frames(header.frames, field)
    except SampleError as error:
        return error
    problem = header.problem
    if not problem and not header.has_video:
        problem = "it has no frames, only sound or nothing"
    if problem:
        what = f"the video cannot be decoded: {problem}"
        return SampleError(what, reason="bad_video", field=field)
    return None
