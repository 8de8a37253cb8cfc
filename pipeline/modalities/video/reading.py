"""The frames of a clip, of which no more are decoded than lie between a key frame and one that is wanted."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.limits import beyond, rounded_up

# VP8 has packets whose frame is never shown. Source: RFC 6386, 9.1, frame header: bit 4 of the first byte.
_VP8, _VP8_SHOWN = "vp8", 0x10


@dataclass(frozen=True)
class Bounds:
    """What a clip may take, whatever its file declares.

    Attributes:
        max_seconds: Of its duration.
        max_pixels: Of a frame.
        max_frames: That its file holds.
        max_decode_seconds: Of this thread, from its opening on.
    """

    max_seconds: float
    max_pixels: int
    max_frames: int
    max_decode_seconds: float

    def check_seconds(self, seconds: float, field: str) -> None:
        """Refuses a clip that lasts too long."""
        if seconds > self.max_seconds:
            raise beyond(
                f"the video lasts {seconds:.3f} s",
                setting="modalities.video.max_minutes",
                limit=self.max_seconds / 60,
                needed=rounded_up(seconds / 60),
                field=field,
            )

    def check_pixels(self, width: int, height: int, field: str) -> None:
        """Refuses frames that are too large."""
        if width * height > self.max_pixels:
            raise beyond(
                f"a frame of the video has {width} x {height} pixels",
                setting="modalities.video.max_megapixels",
                limit=self.max_pixels / 1e6,
                needed=rounded_up(width * height / 1e6),
                field=field,
            )

    def check_frames(self, count: int, field: str) -> None:
        """Refuses a file of too many frames."""
        if count > self.max_frames:
            raise beyond(
                f"the video has {count} frames or more",
                setting="modalities.video.max_frames",
                limit=self.max_frames,
                field=field,
            )

    def check_work(self, began: float, field: str) -> None:
        """Refuses a clip whose decoding takes too long; ``began`` is of :func:`time.thread_time`."""
        if time.thread_time() - began > self.max_decode_seconds:
            raise beyond(
                "decoding the video takes longer",
                setting="modalities.video.max_decode_seconds",
                limit=self.max_decode_seconds,
                field=field,
            )


class Clip:
    """A clip whose container is open: its packets, all read and none decoded.

    Args:
        container: ``av.container.InputContainer``.
        bounds: What it may take.
        field: Its extension.

    Attributes:
        begins: (N,) float64, when each frame is first shown, in seconds, ascending.
        end: When the last one is no longer shown.

    Raises:
        SampleError: It is over a bound.
        ValueError: It has no frames.
    """

    def __init__(self, container: Any, bounds: Bounds, field: str) -> None:
        self._bounds, self._field = bounds, field
        self._began = time.thread_time()
        stream = next((s for s in container.streams.video if not _is_cover(s)), None)
        if stream is None:
            raise ValueError("it has no frames, only sound or nothing")
        self._context = context = stream.codec_context
        if context is None:
            raise ValueError("what its frames are compressed with is unknown")
        context.thread_count = 1
        bounds.check_pixels(context.width, context.height, field)
        self._packets = list(self._read(container, stream))
        self._keys = [place for place, packet in enumerate(self._packets) if packet.is_keyframe]
        shown = [place for place, packet in enumerate(self._packets) if self._is_shown(packet)]
        if not shown:
            raise ValueError("it holds no frames")
        stamps, tick, duration = self._stamps(shown, stream)
        order = np.argsort(stamps, kind="stable")
        self._ticks: list[int] = stamps[order].tolist()  # of the frames, as they are shown
        self._places = [shown[index] for index in order]  # and the packets that they come from
        self.begins = stamps[order] * tick
        self.end = float(self.begins[-1]) + (
            duration * tick if duration else _usual_seconds(self.begins)
        )
        bounds.check_seconds(self.seconds, field)

    @property
    def seconds(self) -> float:
        """Duration."""
        return self.end - float(self.begins[0])

    def _read(self, container: Any, stream: Any) -> Iterator[Any]:
        count = 0
        for packet in container.demux(stream):
            if not packet.size:  # the end, or a frame that is shown again
                continue
            if packet.is_corrupt:
                raise ValueError("the file ends within a frame")
            count += 1
            self._bounds.check_frames(count, self._field)
            yield packet

    def _is_shown(self, packet: Any) -> bool:
        return self._context.name != _VP8 or bool(memoryview(packet)[0] & _VP8_SHOWN)

    def _stamps(self, shown: list[int], stream: Any) -> tuple[np.ndarray, float, int]:
        """When frames are shown, (N,) int64 in ticks, the seconds of a tick, and the last one's duration in ticks.

        What has no times of presentation, such as AVI, shows its frames in the order in which they come out.
        """
        packets = [self._packets[place] for place in shown]
        stamps = [packet.pts for packet in packets]
        self._has_stamps = None not in stamps
        if not self._has_stamps:
            stamps = [packet.dts for packet in packets]
        if None in stamps or not stream.time_base:
            return np.arange(len(packets)), 1.0 / float(stream.average_rate or 25), 1
        times = np.array(stamps, dtype=np.int64)
        last = packets[int(np.argmax(times))]
        return times, float(stream.time_base), last.duration or 0

    def frames(self, wanted: Iterable[int]) -> Iterator[Any]:
        """Decodes some frames, each from the key frame before it, or from where the one before it left off.

        Args:
            wanted: Which, as they are shown; ascending, none twice.

        Yields:
            ``av.VideoFrame``, one for each; the next one where a decoder makes no frame of a packet.

        Raises:
            SampleError: Decoding takes too long, or a frame is too large.
            ValueError: A frame is damaged, or missing.
        """
        remaining = list(wanted)[::-1]
        packets = {self._places[frame] for frame in remaining}
        upcoming, rank = -1, 0
        while remaining:
            start = self._start_of(remaining[-1])
            if upcoming < 0 or start > upcoming:
                if upcoming >= 0:
                    self._context.flush_buffers()
                upcoming, rank = start, bisect_left(sorted(self._places), start)
            for frame in self._decode(upcoming, upcoming in packets):
                place = rank if not self._has_stamps else bisect_left(self._ticks, frame.pts)
                rank += 1
                if remaining and place >= remaining[-1]:
                    remaining.pop()
                    yield self._checked(frame)
            if upcoming == len(self._packets) and remaining:
                raise ValueError(
                    f"frame {remaining[-1] + 1} of {len(self._ticks)} cannot be decoded"
                )
            upcoming += 1

    def _start_of(self, frame: int) -> int:
        """The last key frame's packet that a frame can be decoded from: shown no later, and stored no later."""
        place = self._places[frame]
        if not self._has_stamps:
            return max((key for key in self._keys if key <= place), default=0)
        stamp = self._ticks[frame]
        return max(
            (key for key in self._keys if key <= place and self._packets[key].pts <= stamp),
            default=0,
        )

    def _decode(self, place: int, is_wanted: bool) -> Iterable[Any]:
        """Gives the decoder a packet, behind the last one its end; what no frame refers to is not decoded."""
        self._bounds.check_work(self._began, self._field)
        if self._has_stamps:
            self._context.skip_frame = "DEFAULT" if is_wanted else "NONREF"
        packet = self._packets[place] if place < len(self._packets) else None
        frames: Iterable[Any] = self._context.decode(packet)
        return frames

    def _checked(self, frame: Any) -> Any:
        if frame.is_corrupt:
            raise ValueError("a frame is damaged")
        self._bounds.check_pixels(frame.width, frame.height, self._field)
        return frame


def _is_cover(stream: Any) -> bool:
    """Whether a stream is a picture beside a sound, rather than moving ones."""
    return bool(stream.disposition & stream.disposition.__class__.attached_pic)


def _usual_seconds(begins: np.ndarray) -> float:
    """How long a frame is shown, on average."""
    steps = len(begins) - 1
    return float(begins[-1] - begins[0]) / steps if steps and begins[-1] > begins[0] else 1 / 25
