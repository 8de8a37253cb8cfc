"""A sound is as long as its container says, or it is refused; and what every player tolerates is noted."""

import contextlib
import io
import itertools
import os
import struct
import sys
from collections.abc import Callable

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from support.bad_inputs import replaced
from support.bad_inputs.sound_files import (
    SOUND,
    SUBFORMAT,
    chunk,
    encoded,
    fmt,
    frame_starts,
    multiplexed,
    recounted,
    renamed,
    resampled,
    sealed,
    split_pages,
    tone,
    untagged,
    wav,
    written,
)

from pipeline.errors import SampleError
from pipeline.modalities.audio import AudioConfig
from pipeline.modalities.audio import sndfile as reader
from pipeline.modalities.audio.codec import read_mono
from pipeline.modalities.audio.containers import walk
from pipeline.modalities.audio.containers.codings import opus_samples, vorbis_samples
from pipeline.modalities.audio.containers.flac import (
    StreamInfo,
    crc8,
    last_frame,
    read_stream_info,
)
from pipeline.modalities.audio.containers.layout import is_unknown, shortage
from pipeline.modalities.audio.containers.ogg import read_streams
from pipeline.modalities.audio.probe import AudioHeader, probe_audio
from pipeline.modalities.audio.sndfile import Sound
from pipeline.modalities.base import Item, Noted
from pipeline.modalities.content import Content, sniff

SPEECH_LIKE_HZ = 16_000


def decoded(data: bytes, field: str = "x", *, whole: bool = True, minutes: float = 30) -> Sound:
    return read_mono(memoryview(data), field, minutes * 60, minutes * 60, whole=whole)


def same(sound: Sound, expected: np.ndarray) -> None:
    """The sounds are as long as each other, and each stretch of one is like that of the other."""
    assert len(sound.mono) == len(expected)
    assert sound.seconds == pytest.approx(len(expected) / sound.rate_hz)
    left, right = (np.sqrt(np.square(one[: len(one) // 500 * 500]).reshape(-1, 500).mean(axis=1))
                   for one in (sound.mono, expected))  # fmt: skip
    np.testing.assert_allclose(left, right, atol=0.08)


def library(data: bytes) -> np.ndarray:
    sound, _ = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
    mono: np.ndarray = sound.mean(axis=1)
    return mono


def header_of(data: bytes) -> AudioHeader:
    header = probe_audio(Content(len(data), memoryview(data)), sniff(data[:512]))
    assert isinstance(header, AudioHeader)
    return header


# Streams that follow one another


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize(
    ("form", "subtype", "rate"),
    [
        ("OGG", "VORBIS", 8000),
        ("OGG", "OPUS", 48_000),
        ("OGG", "OPUS", 16_000),
        ("FLAC", "PCM_16", 8000),
        ("MP3", None, 16_000),
        ("MP3", None, 44_100),
    ],
)
def test_all_streams_of_a_file_are_decoded(
    form: str, subtype: str | None, rate: int, *, whole: bool
) -> None:
    """The second has other channels: a decoder that goes on where the first ends does not get over that."""
    one, two = (written(form, subtype, rate, channels) for channels in (1, 2))
    sound = decoded(one + two + one, whole=whole)
    same(sound, np.concatenate([library(one), library(two), library(one)]))
    assert sound.remark is None


@pytest.mark.parametrize("form", ["OGG", "MP3"])
def test_streams_of_other_rates_are_refused(form: str) -> None:
    with pytest.raises(SampleError, match="rate|Hz"):
        decoded(written(form, rate=16_000) + written(form, rate=44_100))


def test_streams_beside_each_other_are_told_apart() -> None:
    ogg = written("OGG")
    sound = decoded(multiplexed(ogg) + ogg)
    same(sound, np.tile(library(ogg), 2))
    assert sound.remark is not None
    assert sound.remark.reason == "noted_tracks"


def test_a_picture_beside_the_sound_is_passed_over() -> None:
    ogg = written("OGG")
    pages = split_pages(ogg)
    theora = [replaced(page, 14, b"film") for page in pages]
    theora[0] = replaced(theora[0], 28, b"\x80theora")
    both = b"".join(a + sealed(b) for a, b in zip(pages, theora, strict=True))
    sound = decoded(both)
    same(sound, library(ogg))
    assert sound.remark is None


@pytest.mark.parametrize(("subtype", "rate"), [("VORBIS", 8000), ("OPUS", 48_000)])
def test_a_recording_may_begin_in_the_middle_of_a_broadcast(subtype: str, rate: int) -> None:
    data = io.BytesIO()
    soundfile.write(data, tone(60_000)[:, 0], rate, format="OGG", subtype=subtype)
    whole = data.getvalue()
    for offset in (700, 5000, 10_000_000):
        moved = b""
        for page in split_pages(whole):
            position = int.from_bytes(page[6:14], "little")
            there = position + offset if position else 0
            moved += sealed(replaced(page, 6, struct.pack("<q", there)))
        assert len(decoded(moved).mono) == 60_000


@pytest.mark.parametrize("rate", [8000, 22_050, 44_100])
def test_samples_of_vorbis_packets_are_counted_as_decoded(rate: int) -> None:
    data = memoryview(written("OGG", "VORBIS", rate))
    [stream] = read_streams(data)
    packets = stream._opening_packets(data)
    position = stream.opening[-1].position
    assert vorbis_samples(packets) >= position, "the last page may be cut"
    if len(stream.opening) < len(stream.pages):
        assert vorbis_samples(packets) == position


def test_samples_of_opus_packets() -> None:
    for config, code, rest, expected in (
        (0, 0, b"", 480), (3, 1, b"", 5760), (15, 0, b"", 960), (16, 2, b"", 240), (31, 3, b"\x05", 4800),
    ):  # fmt: skip
        assert opus_samples(bytes([config << 3 | code]) + rest) == expected


def ogg_of_flac(flac: bytes, samples: int) -> bytes:
    """A FLAC of blocks of 4096 samples, a frame a page.

    Source: RFC 9639, 10.1.
    """
    info = read_stream_info(memoryview(flac))
    assert info is not None
    headers = struct.unpack(">I", b"\0" + flac[43:46])[0] + 46
    ends = [end for end in range(headers, len(flac) + 1) if is_frame_end(flac, end, info)]
    first = b"\x7fFLAC\1\0\0\1fLaC" + flac[4:42]
    packets = [(first, 0), (b"\x84" + flac[43:headers], 0)]
    packets += [
        (flac[start:end], min(4096 * number, samples))
        for number, (start, end) in enumerate(itertools.pairwise(ends), start=1)
    ]
    pages = b""
    for number, (packet, position) in enumerate(packets):
        flags = 2 * (number == 0) | 4 * (number == len(packets) - 1)
        lacing = b"\xff" * (len(packet) // 255) + bytes([len(packet) % 255])
        head = struct.pack("<4sBBqIIIB", b"OggS", 0, flags, position, 7, number, 0, len(lacing))
        pages += sealed(head + lacing + packet)
    return pages


def is_frame_end(flac: bytes, end: int, info: StreamInfo) -> bool:
    """Whether a frame begins at ``end``, or the file ends."""
    if end == len(flac):
        return True
    if flac[end] != 0xFF:
        return False
    frame = last_frame(memoryview(flac[: end + 16]), info._replace(frame_bytes=20))
    return frame is not None and frame.offset == end


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_flac_in_ogg(share: float) -> None:
    flac = encoded(tone(18_000)[:, 0], "FLAC")
    expected = library(flac)
    whole = ogg_of_flac(flac, 18_000)
    np.testing.assert_array_equal(decoded(whole).mono, expected)
    np.testing.assert_array_equal(decoded(whole, whole=False).mono, expected)
    assert header_of(whole).seconds == 18_000 / 8000
    assert decoded(whole * 2).seconds == 2 * 18_000 / 8000
    pages = split_pages(whole)
    fewer = b"".join(pages[: round(share * len(pages)) - 1])
    with pytest.raises(SampleError, match="ends before its last page"):
        decoded(fewer)


# MP3


@pytest.mark.parametrize("rate", [8000, 16_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_mp3_without_a_tag_is_decoded_to_its_end(rate: int, channels: int) -> None:
    """libmpg123 guesses the length from the first frames, which here are large: then came a piece of the sound."""
    noise = np.random.default_rng(2).normal(0, 0.2, (rate, channels))
    tagged = encoded(np.concatenate([noise, tone(3 * rate, channels)]), "MP3", rate)
    bare = untagged(tagged)
    if channels == 1:
        assert len(library(bare)) < 3.5 * rate, "the library alone stops early"
    [stretch] = walk(memoryview(bare), whole=True).stretches
    frame = 1152 if rate >= 32_000 else 576
    count = (len(frame_starts(bare))) * frame
    assert stretch.samples == count >= 4 * rate
    for whole in (True, False):
        sound = decoded(bare, whole=whole)
        assert len(sound.mono) == count
        assert np.abs(sound.mono[3 * rate :]).max() > 0.1, "and no silence behind"


@pytest.mark.parametrize("name", [b"Xing", b"VBRI"])
@pytest.mark.parametrize("share", [0.01, 0.5, 0.99, 1.0, 1.009])
def test_a_wrong_count_changes_nothing(name: bytes, share: float) -> None:
    tagged = encoded(tone(400_000)[:, 0], "MP3", 16_000)
    starts = frame_starts(tagged)
    count = len(starts) - 1
    declared = round(count * share)
    if name == b"VBRI":
        fields = struct.pack(">HHHII", 1, 0, 75, len(tagged), declared)
        head = tagged[:4] + bytes(32) + b"VBRI" + fields
        data = head + bytes(starts[1] - len(head)) + tagged[starts[1] :]
        expected = count * 576
    else:
        data, expected = recounted(tagged, declared), 400_000
    for whole in (True, False):
        assert len(decoded(data, whole=whole).mono) == expected
    remark = decoded(data).remark
    assert (remark is None) == (declared == count)
    assert remark is None or remark.reason == "noted_count"


def test_what_a_tag_declares_and_is_not_there_is_missed() -> None:
    tagged = encoded(tone(400_000)[:, 0], "MP3", 16_000)
    starts = frame_starts(tagged)
    for missing in (1, 6, 7, 8, 20):
        for cut in (0, 30):
            data = tagged[: starts[-missing] - cut]
            if missing + (cut > 0) > 0.01 * (len(starts) - 1):
                with pytest.raises(SampleError, match="declares 697 frames"):
                    decoded(data)
                continue
            sound = decoded(data)
            assert sound.remark is not None
            assert sound.remark.reason == ("noted_cut_end" if cut else "noted_count")
            frames = len(starts) - 1 - missing - (cut > 0)
            assert len(sound.mono) >= frames * 576 - 576 - 529, "nothing whole is lost"


def test_a_change_of_channels_inside_a_sound_is_refused() -> None:
    """Its first frame has a part of its sound in the frame before, which another decoder does not see."""
    mono, stereo = (untagged(written("MP3", rate=16_000, channels=n)) for n in (1, 2))
    starts = frame_starts(stereo)
    behind = next(at for at in starts[3:] if stereo[at + 4])
    with pytest.raises(SampleError, match="channels of the MPEG audio change"):
        decoded(mono + stereo[behind:])


def test_tags_between_frames_are_left_out() -> None:
    mp3 = written("MP3", rate=16_000)
    middle = frame_starts(mp3)[6]
    id3 = b"ID3\4\0\0\0\0\2\0" + bytes(256)
    sound = decoded(mp3[:middle] + id3 + mp3[middle:])
    np.testing.assert_array_equal(sound.mono, decoded(mp3).mono)


def test_mp3_in_a_wav_is_walked_too() -> None:
    mp3 = encoded(np.concatenate([np.zeros(16_000), tone(32_000)[:, 0]]), "MP3", 16_000)
    layout = struct.pack("<HHIIHHH", 0x55, 1, 16_000, 4000, 1, 0, 0)
    for sound in (mp3, untagged(mp3)):
        np.testing.assert_array_equal(decoded(wav(layout, sound)).mono, decoded(sound).mono)
    cut = decoded(wav(layout, mp3[:-5]))
    assert cut.remark is not None
    assert cut.remark.reason == "noted_cut_end"


# FLAC


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("block", [0, 1])
def test_flac_that_does_not_tell_its_length(block: int, *, whole: bool) -> None:
    flac = encoded(tone(30_000, 2), "FLAC")
    data = resampled(flac, 0)
    if block:  # a tag behind it
        data += b"TAG" + bytes(125)
    sound = decoded(data, whole=whole)
    np.testing.assert_array_equal(sound.mono, library(flac))
    assert sound.remark is None


@pytest.mark.parametrize("count", [1, 100, 4095, 4096, 4097, 12_288, 30_001])
@pytest.mark.parametrize("subtype", ["PCM_S8", "PCM_24"])
def test_the_last_frame_of_flac_tells_the_length(count: int, subtype: str) -> None:
    data = io.BytesIO()
    soundfile.write(data, tone(count), 22_050, format="FLAC", subtype=subtype)
    view = memoryview(data.getvalue())
    info = read_stream_info(view)
    assert info is not None
    frame = last_frame(view, info)
    assert frame is not None
    assert frame.first + frame.samples == count


def test_checksums_of_flac_frame_headers() -> None:
    assert crc8(b"123456789") == 0xF4  # the check value of CRC-8/SMBUS, which has this polynomial


@pytest.mark.parametrize("seconds", [20, 60])
@pytest.mark.parametrize("declares", [True, False])
def test_flac_whose_last_frame_is_cut(seconds: int, *, declares: bool) -> None:
    """A frame of 4096 samples is more than 1 % of 20 s at 8 kHz, and less than that of 60 s."""
    flac = encoded(tone(8000 * seconds - 3)[:, 0], "FLAC")
    data = (flac if declares else resampled(flac, 0))[:-9]
    last = (8000 * seconds - 3) // 4096 * 4096
    if declares and 8000 * seconds - last > 80 * seconds:
        with pytest.raises(SampleError):
            decoded(data)
        return
    sound = decoded(data)
    np.testing.assert_array_equal(sound.mono, library(flac)[:last])
    assert sound.remark is not None
    assert sound.remark.reason == "noted_cut_end"
    damaged = replaced(data, len(data) // 2, bytes(300))
    with pytest.raises(SampleError):
        decoded(damaged)


# WAV and its like


def widths(bits: int, size: int, *, high: bool, signed: bool = True) -> tuple[bytes, np.ndarray]:
    """Samples of some bits in some bytes, at the high or the low end, and what they are."""
    values = (tone(900, 2) * (1 << bits - 1) * 0.9).astype(np.int64)
    stored = values << 8 * size - bits if high else values
    if not signed:
        stored = stored & ((1 << bits) - 1)
    raw = stored.astype("<i8").view(np.uint8).reshape(*values.shape, 8)[..., :size]
    return raw.tobytes(), (values / (1 << bits - 1)).mean(axis=1)


def extensible(bits: int, valid: int, block: int) -> bytes:
    head = struct.pack("<HHIIHH", 0xFFFE, 2, 8000, 8000 * block, block, bits)
    return head + struct.pack("<HHIH", 22, valid, 3, 1) + SUBFORMAT


@pytest.mark.parametrize(
    ("bits", "size", "high"),
    [(24, 4, True), (24, 4, False), (20, 4, True), (20, 4, False), (20, 3, True), (12, 2, True)],
)
def test_samples_with_room_to_spare(bits: int, size: int, *, high: bool) -> None:
    for signed in {True, high}:
        raw, expected = widths(bits, size, high=high, signed=signed)
        block = 2 * size
        layouts = [fmt(channels=2, bits=bits, block=block), extensible(8 * size, bits, block)]
        if size == 4:
            layouts.append(extensible(bits, bits, block))
        for layout in layouts:
            np.testing.assert_allclose(decoded(wav(layout, raw)).mono, expected, atol=1e-7)
    if high:  # libsndfile reads these too
        np.testing.assert_allclose(library(wav(layouts[1], raw)), expected, atol=1e-7)


def test_samples_at_neither_end_are_refused() -> None:
    noise = np.random.default_rng(0).bytes(8000)
    with pytest.raises(SampleError, match="neither end"):
        decoded(wav(fmt(bits=24, block=4), noise))


def test_bytes_behind_the_sound() -> None:
    whole = wav(fmt(), SOUND)
    expected = decoded(whole).mono
    for behind, noted in (
        (b"", False),
        (bytes(50_000), False),
        (b"a few bytes", False),
        (chunk(b"LIST", b"x" * 5000), False),
        (chunk(b"LIST", b"x" * 4999) + b"\0" + chunk(b"id3 ", b"y" * 900), False),
        (b"\x01\xff" * 400, True),
    ):
        sound = decoded(whole + behind)
        np.testing.assert_array_equal(sound.mono, expected)
        assert (sound.remark is not None) == noted
    odd = wav(
        fmt(bits=8), SOUND[:999], after=chunk(b"LIST", b"x" * 500)
    )  # the byte that evens it is forgotten
    assert decoded(odd).remark is None


@pytest.mark.parametrize("missing", [0, 1, 60, 119, 121, 122, 3000])
@pytest.mark.parametrize("form", ["WAV", "AIFF", "AU", "CAF", "W64", "RF64"])
def test_one_hundredth_may_be_missing(form: str, missing: int) -> None:
    whole = written(form, "PCM_16") if form != "WAV" else wav(fmt(), SOUND)
    cut = whole[: len(whole) - missing]
    assert len(SOUND) == 12_000
    if missing > 120:
        with pytest.raises(SampleError, match="declares"):
            decoded(cut)
        return
    sound = decoded(cut)
    assert len(sound.mono) == (12_000 - missing) // 2
    assert (sound.remark is None) == (missing == 0)
    assert sound.remark is None or sound.remark.reason == "noted_cut_end"


def wave64(form: bytes, sound: bytes) -> bytes:
    """A W64 with a format of any kind; sizes count their own header of 24 bytes, and chunks begin at eighths."""
    tail = bytes.fromhex("f3acd3118cd100c04f8edb8a")
    body = b"wave" + tail
    for name, content in ((b"fmt ", form), (b"data", sound)):
        body += name + tail + struct.pack("<Q", 24 + len(content)) + content
        body += bytes(-len(content) % 8)
    head = b"riff" + bytes.fromhex("2e91cf11a5d628db04c10000")
    return head + struct.pack("<Q", len(head) + 8 + len(body)) + body


@pytest.mark.parametrize(
    ("subtype", "code", "bits"),
    [
        ("PCM_16", 1, 16),
        ("PCM_24", 1, 24),
        ("PCM_32", 1, 32),
        ("FLOAT", 3, 32),
        ("DOUBLE", 3, 64),
        ("ULAW", 7, 8),
    ],
)
def test_the_format_of_a_w64_may_be_extensible(subtype: str, code: int, bits: int) -> None:
    plain = encoded(tone(3000, 2), "WAV", subtype=subtype)
    sound = plain[plain.index(b"data") + 8 :][: 3000 * 2 * bits // 8]
    long = struct.pack("<HHIH", 22, bits, 3, code) + SUBFORMAT
    for form in (fmt(code, 2, bits=bits), fmt(0xFFFE, 2, bits=bits) + long):
        same(decoded(wave64(form, sound)), library(plain))
        np.testing.assert_array_equal(decoded(wave64(form, sound)).mono, decoded(plain).mono)
    with pytest.raises(SampleError, match="declares"):
        decoded(wave64(form, sound)[:-2000])


@pytest.mark.parametrize("form", ["AIFF", "AU", "CAF", "W64"])
def test_headers_of_streams_are_read_as_their_sound_is(form: str) -> None:
    data = written(form, "PCM_16")
    name = b"SSND" if form == "AIFF" else b"data"
    places = {"AIFF": (4, ">I"), "CAF": (4, ">Q"), "W64": (16, "<Q")}
    place, order = (8, ">I") if form == "AU" else places[form]
    start = 0 if form == "AU" else data.index(name)
    unknown = (1 << 8 * struct.calcsize(order)) - 1
    streamed = replaced(data, start + place, struct.pack(order, unknown))
    assert header_of(streamed).seconds == pytest.approx(decoded(streamed).seconds)


def test_a_w64_without_a_format_is_told_in_words() -> None:
    with pytest.raises(SampleError, match="fmt"):
        decoded(wave64(b"", SOUND))


def test_what_is_less_than_a_frame_may_be_missing() -> None:
    few = wav(fmt(channels=2), SOUND[:80])[:-3]  # 3 of 80 bytes, of frames of 4
    sound = decoded(few)
    assert len(sound.mono) == 19
    assert sound.remark is not None
    assert shortage("it", 100, 100) is None
    with pytest.raises(ValueError, match="it declares 80 bytes of sound and holds 76"):
        shortage("it", 80, 76, frame=4)


@given(held=st.integers(1, 1 << 28), size=st.integers(0, (1 << 32) - 1))
def test_sizes_are_unknown_only_next_to_the_largest(held: int, size: int) -> None:
    near = size >= (1 << 32) - (1 << 16) or abs(size - (1 << 31)) <= 1 << 16
    assert is_unknown(size, held) == (size == 0 or (near and size > held))


# All kinds together


def decoded_or_none(data: bytes) -> Sound | None:
    with contextlib.suppress(SampleError):
        return decoded(data)
    return None


KINDS = [
    ("WAV", "PCM_16"),
    ("WAV", "PCM_24"),
    ("WAV", "ULAW"),
    ("WAV", "IMA_ADPCM"),
    ("W64", "PCM_16"),
    ("CAF", "PCM_16"),
    ("AU", "PCM_16"),
    ("AIFF", "PCM_16"),
    ("FLAC", "PCM_16"),
    ("FLAC", "PCM_24"),
    ("OGG", "VORBIS"),
    ("OGG", "OPUS"),
    ("MP3", None),
]


@settings(max_examples=120)
@given(
    kind=st.sampled_from(KINDS),
    count=st.integers(2000, 30_000),
    channels=st.integers(1, 2),
    keep=st.floats(0.3, 1.0),
    times=st.integers(1, 2),
)
def test_a_sound_is_as_long_as_it_was_or_is_refused(
    kind: tuple[str, str | None], count: int, channels: int, keep: float, times: int
) -> None:
    """Whole, joined or cut: what comes out is all of it, or short by what is noted and less than a frame or 1 %."""
    form, subtype = kind
    data = io.BytesIO()
    soundfile.write(data, tone(count, channels), 16_000, format=form, subtype=subtype)
    one = data.getvalue()
    length = len(library(one))  # a coder of blocks fills the last one
    joined = one * times
    cut = joined[: round(len(joined) * keep)]
    sound = decoded_or_none(cut)
    if sound is None:
        assert len(cut) < len(joined) or (times > 1 and form not in ("FLAC", "OGG", "MP3"))
        return
    missing = times * length - len(sound.mono)
    if len(cut) == len(joined) and form in ("FLAC", "OGG", "MP3"):
        assert missing == 0
        assert sound.remark is None
    elif missing > 0:
        if form in ("WAV", "W64", "CAF", "AU", "AIFF"):
            assert times > 1 or missing <= max(0.01 * length, 2), "cut behind the first"
        else:
            assert missing <= 0.01 * length + 1152 + 1105 or times > 1
            assert sound.remark is not None or len(sound.mono) == length


# What is written to stderr, and the limit


def test_lines_of_the_decoder_are_caught_and_others_passed_on(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    mp3 = bytearray(untagged(written("MP3", rate=16_000)))
    starts = frame_starts(bytes(mp3))
    for start in starts[4:8]:  # frames that are whole, and whose sound is none
        mp3[start + 8 : start + 30] = b"\xff" * 22
    soundfile.read(io.BytesIO(bytes(mp3)))
    assert "mpg123" in capfd.readouterr().err, "the library does complain of it"
    begin = reader._Reading._begin

    def logging_begin(*arguments: object) -> None:
        sys.stderr.write("12:00 INFO a line of Python\n")
        os.write(2, b"a line of another library\n")
        begin(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(reader._Reading, "_begin", logging_begin)
    decoded(bytes(mp3))
    told = capfd.readouterr().err
    assert told.count("12:00 INFO a line of Python\n") == 1
    assert told.count("a line of another library\n") == 1
    assert "mpg123" not in told
    decoded(written("OGG"))
    assert "a line of Python" in capfd.readouterr().err


def test_bad_files_print_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    """A library that seeks to where nothing is made Python print a traceback that nobody could catch."""
    for form in ("AIFF", "WAV", "FLAC", "OGG", "MP3", "CAF"):
        whole = written(form)
        for size in range(4, 400, 12):
            for verify in (True, False):
                with pytest.raises(SampleError, match=r"^(\S+ ){4,}") as caught:
                    decoded(whole[:size], whole=verify)
                assert "object at" not in caught.value.what
    assert capfd.readouterr().err == ""


def codec(minutes: float, verify: str = "full") -> Callable[[bytes], np.ndarray]:
    config = AudioConfig(sample_rate_hz=8000, max_seconds=0.1, num_mels=8, max_minutes=minutes)
    return lambda data: config.codec(None, verify=verify).decode(memoryview(data), "x")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("form", "subtype"),
    [("WAV", "PCM_16"), ("WAV", "ULAW"), ("FLAC", None), ("OGG", "VORBIS"), ("MP3", None)],
)
def test_sounds_that_say_they_are_over_the_limit_are_not_decoded(
    form: str, subtype: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = encoded(tone(16_000)[:, 0], form) if subtype is None else written(form, subtype)
    seconds = len(library(data)) / 8000
    codec(seconds / 60)(data)
    monkeypatch.setattr(reader, "_next", None)
    with pytest.raises(SampleError, match="lasts .* s: modalities.audio.max_minutes") as caught:
        codec((seconds - 0.001) / 60)(data)
    assert caught.value.reason == "too_large"


@pytest.mark.parametrize("verify", ["full", "kept"])
def test_what_is_decoded_counts_where_the_header_does_not_tell(
    verify: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GSM in a WAV: the samples that come are counted, and no more are asked for."""
    data = encoded(tone(80_000)[:, 0], "WAV", subtype="GSM610")
    assert [stretch.samples for stretch in walk(memoryview(data), whole=True).stretches] == [None]
    asked = 0
    read = soundfile.SoundFile.read

    def counting(
        self: soundfile.SoundFile, frames: int, *rest: object, **options: object
    ) -> object:
        nonlocal asked
        asked += frames
        return read(self, frames, *rest, **options)

    monkeypatch.setattr(soundfile.SoundFile, "read", counting)
    monkeypatch.setattr(reader, "BLOCK_SAMPLES", 1000)
    codec(0.2, verify)(data)
    asked = 0
    if verify == "kept":  # 0.1 s of it are kept, and nobody asks how long it is
        codec(0.1, verify)(data)
        return
    with pytest.raises(
        SampleError, match="decodes to more: modalities.audio.max_minutes"
    ) as caught:
        codec(0.1, verify)(data)
    assert caught.value.reason == "too_large"
    assert asked <= 48_000 + 1000, "no more than the limit and a block"


# To the quarantine, and to lint


def test_codecs_hand_on_what_is_odd() -> None:
    config = AudioConfig(sample_rate_hz=8000, max_seconds=0.2, num_mels=8)
    cut = wav(fmt(), SOUND)[:-2]
    items = [Item(memoryview(data), "wav") for data in (wav(fmt(), SOUND), cut, cut[:60])]
    whole, noted, bad = config.codec(None).decode_batch(items)
    assert isinstance(whole, np.ndarray)
    assert isinstance(noted, Noted)
    assert noted.reason == "noted_cut_end"
    np.testing.assert_array_equal(noted.value, whole)
    assert isinstance(bad, SampleError)


def test_headers_are_read_by_the_same_rules() -> None:
    ogg = written("OGG")
    for data in (
        wav(fmt(), SOUND, size=0x7FFF0000),
        wav(fmt(), SOUND)[:-2],
        resampled(written("FLAC"), 0),
        written("FLAC"),
        ogg,
        ogg + renamed(ogg),
        multiplexed(ogg),
        (opus := written("OGG", "OPUS", 48_000)) + renamed(opus),
    ):
        header, sound = header_of(data), decoded(data)
        assert header.seconds * header.sample_rate_hz == pytest.approx(len(sound.mono), rel=1e-6)
        assert header.problem == ""
        assert header.remark == (sound.remark if data[:4] == b"RIFF" else None)
