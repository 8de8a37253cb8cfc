"""Which frames of a clip are kept, and that they are those that decoding all of it gives."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import av
import numpy as np
import psutil
import pytest
from PIL import Image
from support.clips import FORMS, RATE, clip, count_frames, encode, picture, reference, turned

from pipeline.modalities import ModalitiesConfig
from pipeline.modalities.shown import Film
from pipeline.modalities.video.codec import VideoCodec
from pipeline.modalities.video.frames import BLACK, are_there
from pipeline.modalities.video.library import opened
from pipeline.modalities.video.reading import Clip
from pipeline.modalities.video.sampling import Sampling

REAL = Path(__file__).parents[5] / "shared" / "data" / "video" / "video-test-000000.tar"


def codec(**settings: Any) -> VideoCodec:
    section = {"size": 24, **settings}
    built = ModalitiesConfig.model_validate({"video": section}).by_name()["video"].codec(None)
    assert isinstance(built, VideoCodec)
    return built


def centres(count: int, frames: int) -> list[int]:
    """The frame in the middle of each stretch of a clip of an even rate."""
    return sorted({int((place + 0.5) * count / frames) for place in range(frames)})


@pytest.mark.parametrize("frames", [1, 5, 24])
@pytest.mark.parametrize("form", FORMS)
def test_frames_are_those_of_a_decoder_of_everything(form: str, frames: int) -> None:
    data = clip(form)
    assert count_frames(data) == 24
    values = codec(frames=frames).decode(memoryview(data), form)
    assert are_there(values).all()
    np.testing.assert_array_equal(values, reference(data, centres(24, frames), 24))


def real_clips() -> dict[str, bytes]:
    if not REAL.exists():
        return {}
    with tarfile.open(REAL) as tar:
        members = [member for member in tar if member.name.endswith((".mp4", ".mkv"))]
        return {member.name: tar.extractfile(member).read() for member in members}  # type: ignore[union-attr]


@pytest.mark.skipif(not REAL.exists(), reason="the real clips are not here")
def test_frames_of_real_clips() -> None:
    clips = real_clips()
    assert len(clips) == 7
    for name, data in clips.items():
        with opened(memoryview(data)) as container:
            read = Clip(container, codec().bounds, "mp4")
            is_large = (
                container.streams.video[0].width > 1000
            )  # whose walk to the end takes a second
        sampling = Sampling(4, rate_hz=2.0 if is_large else None)
        places = sampling.choose(read.begins, read.end).tolist()
        tool = codec(frames=4, size=48, rate_hz=sampling.rate_hz)
        values = tool.decode(memoryview(data), "mp4")
        np.testing.assert_array_equal(values, reference(data, places, 48), err_msg=name)


def test_no_more_is_decoded_than_from_a_key_frame_on() -> None:
    data = clip("mp4", count=120)

    class Counting(Clip):
        decoded = 0

        def _decode(self, place: int, is_wanted: bool) -> Any:
            Counting.decoded += 1
            return super()._decode(place, is_wanted)

    with opened(memoryview(data)) as container:
        read = Counting(container, codec().bounds, "mp4")
        first, second = read.frames([31, 91])
        assert (first.pts, second.pts) == (read._ticks[31], read._ticks[91])
    # Of each group of 6 pictures those before the frame, and those that a decoder waits for.
    assert Counting.decoded <= 2 * (6 + 3)


@pytest.mark.parametrize("wanted", [4, 5, 6, 7, 17, 18])
def test_frames_before_an_open_key_frame(wanted: int) -> None:
    """Frames that are shown before a key frame and stored behind it need the group before."""
    options = (
        ("bf", "3"),
        ("x264-params", "scenecut=0:open-gop=1:b-adapt=0:keyint=6:min-keyint=6"),
    )
    data = encode([picture(index) for index in range(24)], "mp4", options=options)
    with opened(memoryview(data)) as container:
        clip_read = Clip(container, codec().bounds, "mp4")
        [frame] = clip_read.frames([wanted])
        pixels = frame.to_ndarray(format="gray")
        assert any(
            place > key and clip_read._ticks[shown] < clip_read._packets[key].pts
            for shown, place in enumerate(clip_read._places)
            for key in clip_read._keys
        ), "some are"
    with av.open(io.BytesIO(data)) as container:
        frames = [frame.to_ndarray(format="gray") for frame in container.decode(video=0)]
    np.testing.assert_array_equal(pixels, frames[wanted])


def with_a_hidden_frame(webm: bytes) -> bytes:
    """A VP8 clip in which a frame is stored twice, the first time to be decoded and not shown."""
    data = io.BytesIO()
    with av.open(io.BytesIO(webm)) as source, av.open(data, "w", format="webm") as out:
        stream = out.add_stream_from_template(source.streams.video[0])
        packets = [packet for packet in source.demux(video=0) if packet.size]
        for number, packet in enumerate(packets):
            if number == 4:
                hidden = bytearray(bytes(packet))
                hidden[0] &= ~0x10
                extra = av.Packet(bytes(hidden))
                extra.pts = extra.dts = packets[3].pts + 1
                extra.time_base, extra.stream = packet.time_base, stream
                out.mux(extra)
            packet.stream = stream
            out.mux(packet)
    return data.getvalue()


def test_frames_that_are_never_shown_are_decoded_and_not_counted() -> None:
    data = with_a_hidden_frame(clip("webm"))
    assert count_frames(data) == 24
    with opened(memoryview(data)) as container:
        assert sum(1 for packet in container.demux(video=0) if packet.size) == 25
    values = codec(frames=24).decode(memoryview(data), "webm")
    np.testing.assert_array_equal(values, reference(data, centres(24, 24), 24))
    assert not np.array_equal(values, reference(clip("webm"), centres(24, 24), 24)), (
        "it is referred to"
    )


def test_one_thread_and_a_container_that_is_closed() -> None:
    process = psutil.Process()
    codec(frames=2).decode(memoryview(clip("mp4")), "mp4")
    before = process.num_threads()
    with opened(memoryview(clip("mp4", count=120))) as container:
        read = Clip(container, codec().bounds, "mp4")
        for _ in read.frames(range(120)):
            assert process.num_threads() == before
    with pytest.raises(AssertionError, match="not open"):
        next(container.demux())


def test_a_rate_keeps_the_frames_that_are_shown_then() -> None:
    values = codec(frames=8, rate_hz=4.0).decode(memoryview(clip("mp4")), "mp4")
    # 2 seconds of 12 frames: 4 a second are 8, each in the middle of its quarter.
    np.testing.assert_array_equal(values, reference(clip("mp4"), [1, 4, 7, 10, 13, 16, 19, 22], 24))
    slow = codec(frames=8, rate_hz=2.0).decode(memoryview(clip("mp4")), "mp4")
    assert are_there(slow).tolist() == [True] * 4 + [False] * 4
    np.testing.assert_array_equal(slow[:4], reference(clip("mp4"), [3, 9, 15, 21], 24))
    assert not slow[4:].any()


def test_a_clip_of_few_frames_has_no_frame_twice() -> None:
    data = clip("mkv", count=3)
    values = codec(frames=8).decode(memoryview(data), "mkv")
    assert are_there(values).sum() == 3
    np.testing.assert_array_equal(values[are_there(values)], reference(data, [0, 1, 2], 24))
    assert not values[~are_there(values)].any()
    one = codec(frames=4).decode(memoryview(clip("gif", count=1)), "gif")
    assert are_there(one).tolist() == [True, False, False, False]


@pytest.mark.parametrize("form", ["mp4", "mkv"])
def test_of_a_variable_rate_time_counts(form: str) -> None:
    stamps = [0, 1, 2, 3, 4, 5, 20, 21, 22, 23, 24, 47]
    data = encode([picture(index) for index in range(12)], form, stamps=stamps)
    values = codec(frames=4).decode(memoryview(data), form)
    # Of 4 s, what is shown after 0.5, 1.5, 2.5 and 3.5: the sixth frame until 1.67, and the eleventh until 3.9.
    assert are_there(values).tolist() == [True, False, True, False]
    np.testing.assert_array_equal(values[[0, 2]], reference(data, [5, 10], 24))


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_clips_are_turned_upright(quarters: int) -> None:
    data = clip("mp4")
    values = codec(frames=3).decode(memoryview(turned(data, quarters)), "mp4")
    straight = reference(data, centres(24, 3), 24)
    np.testing.assert_array_equal(values, [np.rot90(frame, -quarters) for frame in straight])


@pytest.mark.parametrize(("width", "height"), [(53, 31), (31, 53), (16, 16), (7, 9)])
def test_odd_sizes(width: int, height: int) -> None:
    pictures = [picture(index, width, height) for index in range(6)]
    data = encode(pictures, "gif")
    values = codec(frames=2, size=16).decode(memoryview(data), "gif")
    np.testing.assert_array_equal(values, reference(data, [1, 4], 16))


def test_a_long_strip_is_cut_before_it_is_enlarged() -> None:
    data = encode([picture(index, 512, 4) for index in range(4)], "gif")
    values = codec(frames=2, size=200).decode(memoryview(data), "gif")
    assert values.shape == (2, 200, 200, 3)
    assert are_there(values).all()


def test_black_frames_are_frames() -> None:
    data = encode([np.zeros((48, 64, 3), np.uint8)] * 6, "gif")
    values = codec(frames=4).decode(memoryview(data), "gif")
    assert are_there(values).sum() == 4
    assert values.sum() == 4 * BLACK


def test_candidates_are_decoded_for_each_frame() -> None:
    values = codec(frames=4, candidates=3).decode(memoryview(clip("mp4")), "mp4")
    np.testing.assert_array_equal(values, reference(clip("mp4"), centres(24, 12), 24))


@pytest.mark.parametrize("seed", range(5))
def test_choosing_against_a_walk_through_time(seed: int) -> None:
    rng = np.random.default_rng(seed)
    begins = np.sort(rng.uniform(0, 10, rng.integers(1, 30)))
    end = float(begins[-1] + rng.uniform(0.01, 1))
    for rate in (None, 1.5):
        sampling = Sampling(int(rng.integers(1, 12)), int(rng.integers(1, 4)), rate)
        step = (
            (end - begins[0]) / sampling.places
            if rate is None
            else 1 / (rate * sampling.candidates)
        )
        kept: list[int] = []
        for place in range(sampling.places):
            moment = begins[0] + (place + 0.5) * step
            frame = max([i for i, begin in enumerate(begins) if begin <= moment + 1e-6], default=0)
            is_over = moment >= end and place > 0
            kept.append(-1 if is_over or frame in kept else frame)
        assert sampling.choose(begins, end).tolist() == kept


def test_what_is_shown_is_a_strip_and_a_film(tmp_path: Path) -> None:
    film = Film.from_bytes(codec(frames=4).show(memoryview(clip("avi")), "avi"))
    with Image.open(io.BytesIO(film.strip)) as strip:
        assert strip.format == "PNG"
        assert strip.size == (4 * 24 + 3, 24)
    with av.open(io.BytesIO(film.player)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(frames) == 2 * 8, "seconds at 8 a second"
    assert frames[0].shape == (48, 64, 3)
    assert RATE == 12
