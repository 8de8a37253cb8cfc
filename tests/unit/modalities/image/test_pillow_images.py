"""Images of every other kind: the same pixels as Pillow's, the first frame, and bounded memory."""

import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image, features
from support.pictures import encoded, psnr_db, real_photos, reference

from pipeline.errors import SampleError
from pipeline.modalities.image import ImageConfig
from pipeline.modalities.image.codec import FORMATS, ImageCodec


def codec(size: int) -> ImageCodec:
    return ImageConfig(size=size).codec(None)


def photo(width: int, height: int) -> Image.Image:
    with Image.open(io.BytesIO(real_photos()[0])) as image:
        return image.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)


WRITTEN: dict[str, dict[str, object]] = {
    "PNG": {},
    "WEBP": {"lossless": True},
    "GIF": {},
    "TIFF": {"compression": "tiff_lzw"},
    "BMP": {},
}
if features.check("avif"):
    WRITTEN["AVIF"] = {"quality": 95}


@pytest.mark.parametrize("form", WRITTEN)
@pytest.mark.parametrize("size", [16, 60])  # means of blocks first, and every pixel
def test_other_formats_agree_with_pillow(form: str, size: int) -> None:
    assert form in FORMATS
    data = encoded(photo(200, 150), form, **WRITTEN[form])
    assert psnr_db(codec(size).decode(data, form.lower()), reference(data, size)) >= 35


def test_the_name_does_not_matter() -> None:
    photos = encoded(photo(50, 40), "WEBP"), encoded(photo(50, 40), "JPEG")
    for data in photos:
        for field in ("jpg", "png"):
            assert psnr_db(codec(20).decode(data, field), reference(data, 20)) >= 35


def test_of_an_animation_the_first_frame() -> None:
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "blue")]
    for form in ("GIF", "WEBP", "PNG", "TIFF"):
        data = encoded(frames[0], form, save_all=True, append_images=frames[1:])
        red, green, blue = codec(8).decode(data, "png").reshape(-1, 3).mean(axis=0)
        assert red > 200
        assert max(green, blue) < 60


@pytest.mark.parametrize("form", ["PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("turn", [1, 3, 6])
def test_orientation_of_other_formats(form: str, turn: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = turn
    data = encoded(photo(60, 40), form, exif=exif)
    assert psnr_db(codec(20).decode(data, "png"), reference(data, 20)) >= 35


@pytest.mark.parametrize("form", WRITTEN)
def test_cut_images_are_refused(form: str) -> None:
    data = bytes(encoded(photo(90, 70), form))
    for cut in range(0, len(data) - 64, len(data) // 25):
        with pytest.raises(SampleError) as caught:
            codec(16).decode(memoryview(data[:cut]), "png")
        assert caught.value.reason == "bad_image"


def test_a_large_image_is_held_once() -> None:
    """36 megapixels take 4 bytes each in Pillow, and little besides."""
    data = encoded(Image.new("RGB", (6000, 6000), (10, 200, 30)), "PNG")
    code = (
        "import resource, sys; from pipeline.modalities.image import ImageConfig;"
        "codec = ImageConfig(size=224).codec(None);"
        "data = memoryview(sys.stdin.buffer.read());"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss;"
        "assert codec.decode(data, 'png')[5, 5].tolist() == [10, 200, 30];"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    done = subprocess.run([sys.executable, "-c", code], input=data, capture_output=True, check=True)
    unit = 1 if sys.platform == "darwin" else 1024
    assert int(done.stdout) * unit < 36e6 * 4 + 64e6


def test_results_do_not_share_memory() -> None:
    first, second = photo(40, 40), photo(40, 30)
    one = codec(16).decode(encoded(first), "png")
    kept = one.copy()
    codec(16).decode(encoded(second), "png")
    np.testing.assert_array_equal(one, kept)
