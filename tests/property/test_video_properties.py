"""Damaged clips: whatever is in them, they are decoded or refused with a reason, and their headers are read."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.clips import FORMS, clip

from pipeline.errors import SampleError
from pipeline.modalities import ModalitiesConfig
from pipeline.modalities.audio.track import read_track
from pipeline.modalities.content import Content, sniff
from pipeline.modalities.video.containers import read_header

# Small, and with a limit of time: what is damaged may say that it is large.
SECTION = {"size": 8, "frames": 3, "max_megapixels": 0.1, "max_decode_seconds": 1.0}
VIDEO = ModalitiesConfig.model_validate({"video": SECTION}).by_name()["video"].codec(None)


class Damage(NamedTuple):
    """What is done to a clip: bytes at shares of its first so many, and a piece that is cut out."""

    form: str
    bytes_at: tuple[tuple[int, float, int], ...]
    cut: tuple[float, int]

    def data(self) -> bytes:
        """The clip."""
        data = bytearray(clip(self.form, 6, 16, 16))
        for end, share, value in self.bytes_at:
            data[int(share * (min(end, len(data)) - 1))] = value
        share, length = self.cut
        start = int(share * len(data))
        del data[start : start + length]
        return bytes(data)


SHARES = st.floats(0, 1)
# Many of them in the header, where damage says most.
CHANGES = st.tuples(st.sampled_from((64, 1024, 1 << 30)), SHARES, st.integers(0, 255))
DAMAGES = st.builds(
    Damage,
    st.sampled_from(sorted(FORMS)),
    st.lists(CHANGES, min_size=1, max_size=8).map(tuple),
    st.tuples(SHARES, st.sampled_from((0, 0, 1, 100))),
)


def refusal(data: bytes, form: str) -> SampleError | None:
    """Why a clip is refused; None where it is decoded."""
    try:
        assert VIDEO.decode(memoryview(data), form).shape == (3, 8, 8, 3)
    except SampleError as error:
        return error
    return None


@settings(max_examples=120)
@given(DAMAGES)
def test_it_is_decoded_or_refused(damage: Damage) -> None:
    error = refusal(damage.data(), damage.form)
    assert error is None or error.reason in ("bad_video", "too_large")


@settings(max_examples=200)
@given(DAMAGES)
def test_its_header_is_read(damage: Damage) -> None:
    data = damage.data()
    header = read_header(Content(len(data), memoryview(data)), sniff(data))
    assert header is None or header.seconds >= 0


@settings(max_examples=30)
@given(DAMAGES)
def test_its_sound_track_is_missing_or_refused(damage: Damage) -> None:
    with pytest.raises((SampleError, ValueError)):
        read_track(memoryview(damage.data()), damage.form, 1.0, 1.0, whole=True)
