"""Checks of files as wholes, against brute force and against the libraries that write them."""

import io
import json
import struct
import zlib

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from support.bad_inputs import images, sounds

from pipeline.errors import NoSettingError, SampleError
from pipeline.modalities.audio.containers.chunks import walk_chunks
from pipeline.modalities.audio.containers.flac import Digest, read_stream_info
from pipeline.modalities.audio.containers.mp3 import walk_mp3
from pipeline.modalities.audio.containers.mp3_frames import walk_frames
from pipeline.modalities.audio.containers.ogg import page_checksum, walk_ogg
from pipeline.modalities.decoding.foreign import RAISED, Refusing
from pipeline.modalities.image import ImageConfig
from pipeline.modalities.image.formats.jpeg_head import count_scans, read_head
from pipeline.modalities.image.formats.png import check_rows, read_outline
from pipeline.modalities.strict_json import read_json
from pipeline.modalities.text import TextConfig
from pipeline.modalities.text.codec import read_text, train_tokenizer


def check_png(data: memoryview) -> None:
    check_rows(data, read_outline(data))


def crc_of_ogg(data: bytes) -> int:
    """Bit by bit, as RFC 3533 says it: polynomial 0x04c11db7, from 0, the highest bit first."""
    value = 0
    for byte in data:
        value ^= byte << 24
        for _ in range(8):
            value = (value << 1 ^ (0x04C11DB7 if value >> 31 else 0)) & 0xFFFFFFFF
    return value


@settings(max_examples=60)
@given(
    head=st.binary(min_size=22, max_size=22),
    field=st.binary(min_size=4, max_size=4),
    rest=st.binary(),
)
def test_checksums_of_ogg_pages_are_those_of_brute_force(
    head: bytes, field: bytes, rest: bytes
) -> None:
    expected = crc_of_ogg(head + bytes(4) + rest)
    assert page_checksum(memoryview(head + field + rest)) == expected


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_chained_ogg_streams_are_whole(subtype: str) -> None:
    data = sounds.written("OGG", subtype, 48_000)
    assert [stretch.samples for stretch in walk_ogg(memoryview(data)).stretches] == [6000]
    chained = walk_ogg(memoryview(data * 3))
    assert [bytes(stretch.data) for stretch in chained.stretches] == [data] * 3
    assert [stretch.samples for stretch in chained.stretches] == [6000] * 3
    with pytest.raises(ValueError, match="ends"):
        walk_ogg(memoryview(data * 2 + data[:-5]))


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (7, 5), (8, 8), (9, 17), (33, 1), (1, 33)])
@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGB", "RGBA", "I;16"])
def test_as_many_bytes_of_pixels_are_wanted_as_there_are(mode: str, size: tuple[int, int]) -> None:
    data = io.BytesIO()
    Image.new(mode, size, 1 if mode in ("1", "P") else None).save(data, "PNG")
    check_png(memoryview(data.getvalue()))


@pytest.mark.parametrize("width", [*range(1, 10), 33])
@pytest.mark.parametrize("height", [*range(1, 10), 31])
def test_interlaced_images_of_any_size(width: int, height: int) -> None:
    image = images.pixels(width, height)
    raw = b"".join(
        images.scanlines(image[y::down, x::across])
        for x, y, across, down in images.PASSES
        if y < height and x < width
    )
    head = images.header(width, height, 8, 2, 0, 0, 1)
    whole = images.png(head, images.idat(raw))
    check_png(memoryview(whole))
    with Image.open(io.BytesIO(whole)) as shown:
        np.testing.assert_array_equal(np.asarray(shown), image)
    with pytest.raises(ValueError, match="1 bytes early"):
        check_png(memoryview(images.png(head, images.idat(raw[:-1]))))


@pytest.mark.parametrize("at", [0, 1, 3, 4, 5, 6, 8, 9, 12, 100])
@pytest.mark.parametrize("size", [(60, 44), (400, 400)])
def test_the_checksum_of_all_rows_counts_however_they_are_cut(
    at: int, size: tuple[int, int]
) -> None:
    packed = zlib.compress(images.scanlines(images.pixels(*size)), 1)
    for wrong in (packed[:-1] + bytes([packed[-1] ^ 1]), packed[:-4] + bytes(4)):
        pieces = [wrong[: len(wrong) - at], wrong[len(wrong) - at :]] if at else [wrong]
        data = images.png(images.header(*size), *(images.chunk(b"IDAT", piece) for piece in pieces))
        with pytest.raises(SampleError, match="cannot be decoded"):
            ImageConfig(size=8).codec(None).decode(memoryview(data), "png")


@pytest.mark.parametrize("rows", [0, 1, 20, 43])
def test_rows_that_are_not_there_are_not_shown_as_black(rows: int) -> None:
    raw = images.scanlines(images.pixels()[:rows])
    data = memoryview(images.png(images.header(60, 44), images.idat(raw)))
    with pytest.raises(SampleError, match="early|truncated"):
        ImageConfig(size=8).codec(None).decode(data, "png")
    black = images.png(images.header(60, 44), images.idat(raw + bytes(181 * (44 - rows))))
    ImageConfig(size=8).codec(None).decode(memoryview(black), "png")


def test_scans_of_a_jpeg_are_counted() -> None:
    for options, several in (({}, False), ({"progressive": True}, True)):
        data = memoryview(images.written("JPEG", **options))
        head = read_head(data)
        assert head.several_scans == several
        assert head.components == 3
        assert count_scans(data, head) == bytes(data).count(b"\xff\xda")


@pytest.mark.parametrize("subtype", ["PCM_S8", "PCM_16", "PCM_24"])
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_digests_of_flac_are_the_writers(subtype: str, channels: int) -> None:
    data = sounds.written("FLAC", subtype, channels=channels)
    info = read_stream_info(memoryview(data))
    assert info is not None
    assert (info.rate_hz, info.samples) == (sounds.RATE, 6000)
    digest = Digest(info)
    samples, _ = soundfile.read(io.BytesIO(data), dtype=digest.dtype, always_2d=True)
    for block in np.array_split(samples, 7):
        digest.add(block)
    digest.check()
    digest.add(samples[:1])
    with pytest.raises(ValueError, match="checksum"):
        digest.check()


@pytest.mark.parametrize("rate", [8000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_frames_of_mp3_are_walked_at_every_rate(rate: int, channels: int) -> None:
    data = sounds.written("MP3", rate=rate, channels=channels)
    whole = walk_mp3(memoryview(data))
    assert whole.remark is None
    assert [stretch.samples for stretch in whole.stretches] == [6000]
    last = walk_frames(memoryview(data)).starts[-1]
    for cut in range(200, len(data), len(data) // 40):
        if cut > last:  # what every player tolerates
            remark = walk_mp3(memoryview(data[:cut])).remark
            assert remark is not None
            assert remark.reason == "noted_cut_end"
            continue
        with pytest.raises(ValueError, match="frame"):
            walk_mp3(memoryview(data[:cut]))


@pytest.mark.parametrize("form", ["WAV", "AIFF", "AU", "CAF", "W64", "RF64"])
def test_lengths_of_chunked_sounds(form: str) -> None:
    data = sounds.written(form, "PCM_16")
    assert walk_chunks(memoryview(data)).remark is None
    assert [stretch.samples for stretch in walk_chunks(memoryview(data)).stretches] == [6000]
    with pytest.raises(ValueError, match="declares"):
        walk_chunks(memoryview(data[: len(data) // 2]))
    remark = walk_chunks(memoryview(data[:-2])).remark
    assert remark is not None
    assert remark.reason == "noted_cut_end"


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def has_halves(value: object) -> bool:
    return any("\ud800" <= letter <= "\udfff" for letter in json.dumps(value, ensure_ascii=False))


@settings(max_examples=200)
@given(value=JSON, ascii_only=st.booleans())
def test_json_is_read_as_python_reads_it(value: object, ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)
    assert read_json(text) == value


@settings(max_examples=300)
@given(text=st.text(st.sampled_from('\\u dD8cC0"[]{}:,1n'), max_size=40))
def test_halves_of_characters_are_told_as_brute_force_tells_them(text: str) -> None:
    try:
        expected = json.loads(text)
    except ValueError:
        with pytest.raises(ValueError):  # noqa: PT011 - whatever Python says of it
            read_json(text)
        return
    if has_halves(expected):
        with pytest.raises(ValueError, match="surrogate"):
            read_json(text)
    else:
        assert read_json(text) == expected


@pytest.mark.parametrize("depth", [1, 2, 64, 500])
def test_depth_is_counted_outside_of_texts(depth: int) -> None:
    read_json("[" * depth + '"[[[[{{{{"' + "]" * depth, depth)
    read_json("[" + ",".join(["[]"] * 500) + "]", max(2, depth))
    with pytest.raises(ValueError, match="levels deep"):
        read_json("[" * (depth + 1) + "]" * (depth + 1), depth)
    with pytest.raises(ValueError, match="levels deep"):
        read_json('{"a":' * (depth + 1) + "1" + "}" * (depth + 1), depth)


@pytest.mark.parametrize("name", ["utf-8", "UTF8", "utf_8_sig", "U8"])
def test_names_of_utf8_are_one(name: str) -> None:
    assert TextConfig(encoding=name).encoding == "utf-8"


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("latin-1", "für"),
        ("cp1252", "“für”"),
        ("gb18030", "低音"),
        ("shift-jis", "低音"),
        ("utf-16", "低音"),
    ],
)
def test_texts_in_another_encoding(encoding: str, text: str) -> None:
    tokenizer = train_tokenizer([text], 300)
    codec = TextConfig(encoding=encoding).codec(tokenizer)
    assert codec.show(memoryview(text.encode(encoding)), "txt") == text
    utf8 = TextConfig().codec(tokenizer)
    expected = utf8.decode(memoryview(text.encode()), "txt")
    assert codec.decode(memoryview(text.encode(encoding)), "txt").tolist() == expected.tolist()


@pytest.mark.parametrize(
    "name", ["", "utf-9", "base64", "rot13", "hex", "zlib", "pickle", "a\0b", "undefined"]
)
def test_what_is_no_encoding_is_said(name: str) -> None:
    with pytest.raises(ValueError, match="no text encoding"):
        TextConfig(encoding=name)


@pytest.mark.parametrize(
    ("encoding", "data"),
    [
        ("utf-16", b"a"),
        ("utf-16-le", b"\x00\xd8"),
        ("shift-jis", b"\x81"),
        ("ascii", b"\xff"),
        ("utf-7", b"+2AA-"),
        ("unicode_escape", rb"\ud800"),
        ("latin-1", b"a\0"),
    ],
)
def test_encodings_are_strict(encoding: str, data: bytes) -> None:
    with pytest.raises(SampleError) as caught:
        read_text(memoryview(data), "txt", encoding)
    assert caught.value.reason == "bad_text"


@pytest.mark.parametrize("error", [*RAISED, RecursionError, UnicodeError, NotImplementedError])
def test_what_libraries_raise_is_a_fault_of_the_sample(error: type[Exception]) -> None:
    with pytest.raises(SampleError) as caught, Refusing("bad_image", "png", "the image"):
        raise error("at 0x7f00aa11bb22")
    assert caught.value.reason == "bad_image"
    assert caught.value.field == "png"
    assert "7f00aa" not in caught.value.what
    with pytest.raises(SampleError) as caught, Refusing("bad_image", "png", "the image"):
        raise MemoryError
    assert caught.value.reason == "too_large"


@pytest.mark.parametrize("error", [NameError, AttributeError, ImportError])
def test_bugs_of_ours_pass_and_those_of_libraries_do_not(error: type[Exception]) -> None:
    def library(name: str) -> None:
        exec("def fail(error): raise error('x')", names := {"__name__": name})
        names["fail"](error)

    with pytest.raises(error), Refusing("bad_image", "png", "the image"):
        library("pipeline.modalities.image.formats.pillow")
    with pytest.raises(SampleError), Refusing("bad_image", "png", "the image"):
        library("PIL.Image")


def test_other_errors_pass() -> None:
    with pytest.raises(KeyboardInterrupt), Refusing("bad_image", "png", "the image"):
        raise KeyboardInterrupt
    with pytest.raises(SampleError, match="^mine$"), Refusing("bad_image", "png", "the image"):
        raise SampleError("mine", reason="too_large", setting="limits.member_bytes")
    with pytest.raises(NoSettingError), Refusing("bad_image", "png", "the image"):
        raise SampleError("a bug", reason="too_large")


def test_a_file_of_a_known_kind_is_named_where_it_is_none_of_ours() -> None:
    page = memoryview(b"<!DOCTYPE html><html>404</html>")
    with pytest.raises(SampleError, match="but html"):
        ImageConfig(size=8).codec(None).decode(page, "jpg")
    with pytest.raises(SampleError, match="but pickle"):
        ImageConfig(size=8).codec(None).decode(
            memoryview(b"\x80\x04\x95" + struct.pack("<Q", 9)), "jpg"
        )
