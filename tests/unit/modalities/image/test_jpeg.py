"""Our JPEG reader against Pillow's full decoding, on real photos, on odd kinds and on damage."""

import io
import random
import struct

import numpy as np
import pytest
import simplejpeg
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from support.pictures import encoded, psnr_db, real_photos, reference

from pipeline.errors import SampleError
from pipeline.modalities.image import ImageConfig
from pipeline.modalities.image.codec import ImageCodec
from pipeline.modalities.image.formats.jpeg import decode_jpeg, orientation

MAX_PIXELS = 10**8


def codec(size: int, **settings: float) -> ImageCodec:
    return ImageConfig(size=size, **settings).codec(None)  # type: ignore[arg-type]


def small_photo(width: int = 150, height: int = 110) -> Image.Image:
    with Image.open(io.BytesIO(real_photos()[0])) as image:
        return image.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)


@pytest.mark.parametrize("size", [32, 56, 96, 140, 224])
def test_real_photos_agree_with_pillow_decoding_every_pixel(size: int) -> None:
    factors = set()
    for data in real_photos():
        agreement = psnr_db(codec(size).decode(memoryview(data), "jpg"), reference(data, size))
        assert agreement >= 35
        picture = decode_jpeg(memoryview(data), "jpg", size, MAX_PIXELS)
        assert picture is not None
        factors.add(picture.factor)
        if picture.factor == 1:
            assert agreement >= 50, "the same pixels through the same filter"
    assert max(factors) > 1 or size > 140


def test_scaled_decoding_keeps_more_than_is_wanted() -> None:
    for side, factor in ((95, 1), (96, 2), (191, 2), (192, 4), (383, 4), (384, 8), (2000, 8)):
        data = encoded(Image.new("RGB", (side + 5, side)), "JPEG")
        picture = decode_jpeg(data, "jpg", 32, MAX_PIXELS)
        assert picture is not None
        assert picture.factor == factor
        assert picture.pixels.shape == (-(-side // factor), -(-(side + 5) // factor), 3)


@pytest.mark.parametrize(
    ("mode", "options"),
    [
        ("RGB", {"subsampling": 0}),
        ("RGB", {"subsampling": 1}),
        ("RGB", {"progressive": True}),
        ("RGB", {"restart_marker_blocks": 3}),
        ("RGB", {"keep_rgb": True}),
        ("L", {}),
        ("L", {"progressive": True}),
        ("CMYK", {}),
    ],
)
@pytest.mark.parametrize("size", [20, 100])
def test_every_kind_of_jpeg(mode: str, options: dict[str, object], size: int) -> None:
    data = encoded(small_photo().convert(mode), "JPEG", quality=92, **options)
    assert psnr_db(codec(size).decode(data, "jpg"), reference(data, size)) >= 35


def test_data_behind_the_image_is_left_alone() -> None:
    data = encoded(small_photo(), "JPEG")
    expected = codec(50).decode(data, "jpg")
    followed = memoryview(bytes(data) + b"more, for example a second image" * 9)
    np.testing.assert_array_equal(codec(50).decode(followed, "jpg"), expected)


def test_a_sloppy_writers_file_is_still_an_image() -> None:
    """Bytes that belong to nothing make the strict reader refuse, and Pillow decide."""
    data = bytes(encoded(small_photo(), "JPEG", restart_marker_blocks=6))
    restart = data.index(b"\xff\xd0")
    sloppy = data[:restart] + bytes(12) + data[restart:]
    with pytest.raises(ValueError, match="extraneous"):
        simplejpeg.decode_jpeg(sloppy)
    assert psnr_db(codec(50).decode(memoryview(sloppy), "jpg"), reference(data, 50)) >= 35


def pillow_accepts(data: bytes) -> bool:
    try:
        with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
            image.load()
    except (OSError, ValueError, SyntaxError, KeyError, IndexError, TypeError):
        return False
    return True


DAMAGED = {
    "baseline": {"quality": 90},
    "full colour": {"quality": 90, "subsampling": 0},
    "progressive": {"quality": 85, "progressive": True},
    "restarts": {"quality": 85, "restart_marker_blocks": 4},
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_cut_jpeg_is_refused_wherever_it_is_cut(kind: str) -> None:
    data = bytes(encoded(small_photo(), "JPEG", **DAMAGED[kind]))
    for cut in {*range(0, len(data), len(data) // 120), len(data) - 3, len(data) - 2}:
        for size in (24, 60):  # scaled decoding and decoding of every pixel
            with pytest.raises(SampleError) as caught:
                codec(size).decode(memoryview(data[:cut]), "jpg")
            assert caught.value.reason in ("bad_image", "too_large")


@pytest.mark.parametrize("kind", DAMAGED)
def test_flipped_bits_are_refused_or_harmless(kind: str) -> None:
    """What Pillow refuses never passes; what passes is what Pillow makes of the same bytes."""
    data = bytes(encoded(small_photo(), "JPEG", **DAMAGED[kind]))
    chance, refused = random.Random(kind), 0
    for _ in range(250):
        broken = bytearray(data)
        for _ in range(chance.choice((1, 1, 2, 40))):
            broken[chance.randrange(len(broken))] ^= 1 << chance.randrange(8)
        try:
            ours = codec(60, max_megapixels=1.0).decode(memoryview(bytes(broken)), "jpg")
        except SampleError:
            refused += 1
            continue
        assert pillow_accepts(bytes(broken))
        assert psnr_db(ours, reference(bytes(broken), 60)) >= 30
    assert refused > 20


def test_what_the_decoder_had_to_make_up_is_refused() -> None:
    """A stretch of the pixels' data is gone, the end marker is there: Pillow shows a grey half."""
    data = bytes(encoded(small_photo(), "JPEG", quality=90))
    hollow = data[: len(data) // 2] + data[-2:]
    assert pillow_accepts(hollow)
    with pytest.raises(SampleError, match="premature end"):
        codec(60).decode(memoryview(hollow), "jpg")


def test_the_limit_of_pixels_is_read_from_the_header() -> None:
    data = bytearray(encoded(Image.new("RGB", (64, 48)), "JPEG"))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", 60_000, 60_000)
    with pytest.raises(SampleError, match="60000 x 60000 pixels") as caught:
        codec(32).decode(memoryview(bytes(data)), "jpg")
    assert caught.value.reason == "too_large"


def exif_segment(tiff: bytes) -> bytes:
    content = b"Exif\0\0" + tiff
    return b"\xff\xe1" + struct.pack(">H", len(content) + 2) + content


def with_segment(segment: bytes) -> memoryview:
    data = bytes(encoded(small_photo(60, 40), "JPEG"))
    return memoryview(data[:2] + segment + data[2:])


def tiff(order: str, kind: int, value: int, *, before: int = 0) -> bytes:
    """A directory with the orientation behind ``before`` other entries."""
    packed = {1: "B3x", 3: "H2x", 4: "L"}[kind]
    entries = [struct.pack(order + "HHLL", 0x010E + n, 4, 1, 7) for n in range(before)]
    entries.append(struct.pack(order + "HHL" + packed, 0x0112, kind, 1, value))
    mark = b"II" if order == "<" else b"MM"
    head = mark + struct.pack(order + "HL", 42, 8) + struct.pack(order + "H", len(entries))
    return head + b"".join(entries) + bytes(4)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("turn", range(1, 9))
def test_orientations_are_pillows(order: str, turn: int) -> None:
    data = with_segment(exif_segment(tiff(order, 3, turn, before=turn % 3)))
    assert orientation(data) == turn
    for size in (10, 30):
        assert psnr_db(codec(size).decode(data, "jpg"), reference(data, size)) >= 35


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@settings(max_examples=150)
@given(
    content=st.one_of(
        st.binary(max_size=60),
        st.builds(tiff, st.sampled_from("<>"), st.just(3), st.integers(0, 65535)),
        st.builds(
            lambda head, cut: head[:cut],
            st.builds(tiff, st.sampled_from("<>"), st.sampled_from([3, 4]), st.integers(0, 9)),
            st.integers(0, 40),
        ),
    )
)
def test_no_metadata_can_spoil_an_image(content: bytes) -> None:
    data = with_segment(exif_segment(content))
    turn = orientation(data)
    with Image.open(io.BytesIO(data)) as image:
        expected = image.getexif().get(0x0112, 1)
        upright = ImageOps.exif_transpose(image)
    if expected in range(2, 9):
        assert turn == expected
    else:
        assert turn not in range(2, 9)
        assert upright.size == (60, 40)
    assert codec(16).decode(data, "jpg").shape == (16, 16, 3)


def test_orientation_of_xmp_where_exif_has_none() -> None:
    xmp = b'http://ns.adobe.com/xap/1.0/\0<x:xmpmeta tiff:Orientation="8"/>'
    data = with_segment(b"\xff\xe1" + struct.pack(">H", len(xmp) + 2) + xmp)
    assert orientation(data) == 8
    assert psnr_db(codec(20).decode(data, "jpg"), reference(data, 20)) >= 35
