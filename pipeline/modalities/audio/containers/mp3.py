"""MPEG audio: which of its frames one decoder reads, and how many samples they hold."""

from __future__ import annotations

import itertools
import re
from bisect import bisect_left

from pipeline.modalities.audio.containers.layout import (
    CUT_END,
    MAX_STRETCHES,
    Layout,
    Remark,
    Stretch,
)
from pipeline.modalities.audio.containers.mp3_frames import Frames, frame_bytes, walk_frames
from pipeline.modalities.audio.containers.mp3_tag import Tag, read_tag

# One expression of all three is searched for five times as long.
_TAGS = tuple(map(re.compile, (b"Xing", b"Info", b"VBRI")))


def walk_mp3(data: memoryview) -> Layout:
    """Walks the frames. Tags before and behind them are left alone, and so is what holds no frame behind the last.

    A piece begins where a first frame has a tag of its own, since files were joined, and where the channels change:
    there libmpg123 stops. Of a file without a tag it guesses the length from the first frames.

    Raises:
        ValueError: Something lies between frames, or more than 1 % is missing of what a tag declares.

    Source: ISO/IEC 11172-3, 2.4.1 and 2.4.2.3; ISO/IEC 13818-3; the Xing and LAME tags.
    """
    frames = walk_frames(data)
    tags = _tags(data, frames)
    starts = sorted({0, *frames.breaks, *tags})
    if len(starts) > MAX_STRETCHES:
        raise ValueError(f"the MPEG audio changes its channels {len(frames.breaks)} times")
    stretches: list[Stretch] = []
    remarks: list[Remark] = []
    for start, end in zip(starts, [*starts[1:], len(frames.starts)], strict=True):
        tag = tags.get(start)
        if tag is None:
            stretches.append(_untagged(data, frames, start, end))
            continue
        stretch, remark = _tagged(data, frames, start, end, tag)
        stretches += [stretch] if stretch.samples else []
        remarks += [remark] if remark else []
    if not stretches:
        raise ValueError("the MPEG audio holds no samples")
    if frames.cut and not remarks:
        words = f"the MPEG audio ends inside its frame {len(frames.starts)}"
        remarks = [Remark(CUT_END, words)]
    return Layout(stretches, remarks[0] if remarks else None, noisy=True)


def _untagged(data: memoryview, frames: Frames, start: int, end: int) -> Stretch:
    if start:
        _check_reservoir(data, frames, start)
    samples = (end - start) * frames.kind.samples
    return Stretch(_piece(data, frames, start, end), samples, guessed=True)


def _tagged(
    data: memoryview, frames: Frames, start: int, end: int, tag: Tag
) -> tuple[Stretch, Remark | None]:
    """The frames behind a tag, and whether it tells their number."""
    count, samples = end - start - 1, frames.kind.samples
    content = _piece(data, frames, start, end)
    cut = bool(frames.cut) and end == len(frames.starts)
    remark = tag.judge(count, len(content), cut=cut)
    if not tag.xing:  # libmpg123 would decode it
        behind = _piece(data, frames, start + 1, end) if count else b""
        return Stretch(behind, count * samples, guessed=True), remark
    lost = tag.skipped(count, samples, len(content))
    content = tag.put_right(content, count, samples)
    return Stretch(content, max(0, count * samples - lost), guessed=not tag.counts), remark


def _tags(data: memoryview, frames: Frames) -> dict[int, Tag]:
    """Number of a frame -> the tag that it holds instead of sound."""
    if frames.kind.layer != 3:
        return {}
    tags = {}
    found_tags = (tag.finditer(data, frames.starts[0], frames.end) for tag in _TAGS)
    for tag_match in itertools.chain.from_iterable(found_tags):
        number = bisect_left(frames.starts, tag_match.start()) - 1
        start = frames.starts[number]
        end = frames.starts[number + 1] if number + 1 < len(frames.starts) else frames.end
        tag = read_tag(bytes(data[start:end]), mpeg1=frames.kind.mpeg1)
        if tag is not None:
            tags[number] = tag
    return tags


def _piece(data: memoryview, frames: Frames, start: int, end: int) -> bytes | memoryview:
    """Some frames, without the tags between them."""
    is_complete = end == len(frames.starts)
    last = frames.end if is_complete else frames.starts[end]
    cuts = [number for number in frames.gaps if start < number < end]
    if not cuts and (is_complete or end not in frames.gaps):
        return data[frames.starts[start] : last]
    runs = []
    for first, behind in zip([start, *cuts], [*cuts, end], strict=True):
        end_of_run = frames.starts[behind - 1] + frame_bytes(data, behind - 1, frames)
        runs.append(data[frames.starts[first] : end_of_run])
    return b"".join(runs)


def _check_reservoir(data: memoryview, frames: Frames, number: int) -> None:
    """Checks that a piece without a tag can be decoded alone: its sound does not begin in the frame before.

    Source: ISO/IEC 11172-3, 2.4.2.7 (main_data_begin).
    """
    if frames.kind.layer != 3:
        return
    start = frames.starts[number]
    side = start + (4 if data[start + 1] & 1 else 6)
    if data[side] or (frames.kind.mpeg1 and data[side + 1] >> 7):
        raise ValueError(
            f"the channels of the MPEG audio change inside the sound, at frame {number}"
        )
