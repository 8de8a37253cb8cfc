"""Decoding against the references: Pillow for images, librosa for sounds, Unicode for texts."""

import io
import pickle
import subprocess
import sys

import librosa
import numpy as np
import pyarrow as pa
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from support.pictures import encoded, psnr_db, reference
from support.tones import png, wav

from pipeline.errors import SampleError
from pipeline.modalities import ModalitiesConfig
from pipeline.modalities.audio import AudioConfig
from pipeline.modalities.audio.codec import AudioCodec
from pipeline.modalities.audio.mel import mel_filters
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.modalities.image import ImageConfig
from pipeline.modalities.image.codec import ImageCodec
from pipeline.modalities.text.codec import PAD, TextCodec, clean, train_tokenizer


def image_codec(size: int = 32) -> ImageCodec:
    return ImageConfig(size=size).codec(None)


def audio_codec(rate: int = 16000, seconds: float = 1.0, mels: int = 64) -> AudioCodec:
    return AudioConfig(sample_rate_hz=rate, max_seconds=seconds, num_mels=mels).codec(None)


def text_codec(texts: list[str], max_tokens: int = 64) -> TextCodec:
    return TextCodec(train_tokenizer(texts, 600), max_tokens=max_tokens, max_bytes=1 << 20)


def photo(width: int = 400, height: int = 300) -> Image.Image:
    """Smooth, with detail, as photos are."""
    y, x = np.mgrid[0:height, 0:width]
    channels = [
        np.sin(x / 17 + c) + np.cos(y / 23 - c) + 0.3 * np.sin((x + y) / 3) for c in range(3)
    ]
    return Image.fromarray(np.clip(127 + 50 * np.stack(channels, -1), 0, 255).astype(np.uint8))


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("size", [(400, 300), (300, 400), (1000, 700), (50, 61)])
def test_images_agree_with_pillows_antialiased_resize(form: str, size: tuple[int, int]) -> None:
    data = encoded(photo(*size), form, quality=92)
    ours = image_codec(48).decode(data, form.lower())
    assert ours.shape == (48, 48, 3)
    assert ours.dtype == np.uint8
    assert psnr_db(ours, reference(data, 48)) >= 35


def test_exif_orientation_is_applied() -> None:
    image = Image.new("RGB", (40, 40), "white")
    image.paste("black", (0, 0, 40, 10))  # dark above
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned by 90 degrees clockwise: dark on the right
    turned = image_codec(40).decode(encoded(image, "JPEG", exif=exif, quality=95), "jpg")
    assert turned[:, 35].mean() < 20
    assert turned[:, 5].mean() > 235


def test_modes_become_rgb() -> None:
    codec = image_codec(8)
    clear = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    assert (codec.decode(encoded(clear), "png") == 255).all(), "transparent shows the white behind"
    half = codec.decode(encoded(Image.new("RGBA", (8, 8), (0, 0, 0, 128))), "png")
    assert abs(int(half[0, 0, 0]) - 127) <= 1
    grey = codec.decode(encoded(Image.new("L", (8, 8), 77)), "png")
    assert (grey == 77).all()
    deep = Image.fromarray(np.full((8, 8), 0x4D4D, np.uint16))
    assert (codec.decode(encoded(deep), "png") == 0x4D).all(), "16 bits are scaled, not clipped"
    cmyk = codec.decode(encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG"), "jpg")
    assert cmyk[0, 0, 0] > 200
    assert cmyk[0, 0, 1] < 60
    palette = Image.new("P", (8, 8), 1)
    palette.putpalette([0, 0, 0, 10, 200, 30])
    assert tuple(codec.decode(encoded(palette), "png")[0, 0]) == (10, 200, 30)
    see_through = Image.new("P", (8, 8), 1)
    see_through.putpalette([0, 0, 0, 10, 200, 30])
    assert (codec.decode(encoded(see_through, transparency=1), "png") == 255).all()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "bad_image"),
        (b"no image", "bad_image"),
        (png()[:-30], "bad_image"),
        (bytes(encoded(photo(), "JPEG"))[:4000], "bad_image"),
        (png()[:40] + b"\xff" + png()[41:], "bad_image"),
    ],
)
def test_damaged_images_are_sample_errors(data: bytes, reason: str) -> None:
    with pytest.raises(SampleError) as caught:
        image_codec().decode(memoryview(data), "png")
    assert caught.value.reason == reason


def test_pixel_limit_is_read_from_the_header() -> None:
    codec = ImageConfig(size=8, max_megapixels=0.01).codec(None)
    with pytest.raises(SampleError, match="120 x 100 pixels") as caught:
        codec.decode(encoded(Image.new("RGB", (120, 100))), "png")
    assert caught.value.reason == "too_large"


@pytest.mark.parametrize(
    ("rate", "mels", "seconds"),
    [(16000, 64, 1.0), (8000, 40, 0.5), (22050, 128, 2.0), (44100, 80, 0.3)],
)
def test_log_mel_is_librosas(rate: int, mels: int, seconds: float) -> None:
    codec = audio_codec(rate, seconds, mels)
    rng = np.random.default_rng(rate)
    time = np.arange(codec.num_samples) / rate
    sound = 0.4 * np.sin(2 * np.pi * (300 + 900 * time) * time) + 0.05 * rng.standard_normal(
        len(time)
    )
    sound = (sound * np.linspace(0, 1, len(time))).astype(np.float32)
    power = librosa.feature.melspectrogram(
        y=sound, sr=rate, n_fft=codec.window, hop_length=codec.hop, n_mels=mels
    )
    reference = librosa.power_to_db(power)
    ours = codec.log_mel(sound)
    assert ours.shape == reference.shape == codec.shape
    assert np.abs(ours - reference).max() <= 0.02


def test_mel_filters_are_librosas() -> None:
    reference = librosa.filters.mel(sr=16000, n_fft=400, n_mels=80)
    np.testing.assert_allclose(mel_filters(16000, 400, 80), reference, atol=1e-6)


@pytest.mark.parametrize(
    ("form", "subtype"),
    [("WAV", "PCM_16"), ("WAV", "FLOAT"), ("WAV", "PCM_U8"), ("FLAC", None), ("OGG", None)],
)
def test_sounds_are_mixed_resampled_and_padded(form: str, subtype: str | None) -> None:
    rate = 44100
    time = np.arange(rate // 2) / rate
    left, right = 0.5 * np.sin(2 * np.pi * 440 * time), 0.3 * np.sin(2 * np.pi * 440 * time)
    data = io.BytesIO()
    soundfile.write(data, np.stack([left, right], 1), rate, format=form, subtype=subtype)
    codec = audio_codec(16000, 1.0)
    ours = codec.waveform(memoryview(data.getvalue()), form.lower())
    expected = 0.4 * np.sin(2 * np.pi * 440 * np.arange(8000) / 16000)
    assert ours.shape == (16000,)
    assert np.abs(ours[200:7800] - expected[200:7800]).max() < 0.03
    assert np.abs(ours[8400:]).max() < 0.01
    spectrogram = codec.decode(memoryview(data.getvalue()), form.lower())
    assert spectrogram.dtype == np.float16
    assert np.isfinite(spectrogram).all()


def nan_wav() -> bytes:
    data = io.BytesIO()
    soundfile.write(
        data, np.array([0.1, np.nan, 0.2], np.float32), 8000, format="WAV", subtype="FLOAT"
    )
    return data.getvalue()


@pytest.mark.parametrize(
    "data",
    [b"", b"no sound", wav()[:44], wav()[:-100], nan_wav(), wav(seconds=0.0)],
    ids=["nothing", "text", "header", "cut", "nan", "no seconds"],  # libsndfile writes the time
)
def test_damaged_sounds_are_sample_errors(data: bytes) -> None:
    with pytest.raises(SampleError) as caught:
        audio_codec().decode(memoryview(data), "wav")
    assert caught.value.reason == "bad_audio"


def test_duration_limit() -> None:
    codec = AudioConfig(max_minutes=0.005).codec(None)
    with pytest.raises(SampleError, match="max_minutes is 0.005") as caught:
        codec.decode(memoryview(wav(seconds=0.5)), "wav")
    assert caught.value.reason == "too_large"


def test_silence_is_finite() -> None:
    data = io.BytesIO()
    soundfile.write(data, np.zeros(800), 8000, format="WAV")
    assert np.isfinite(audio_codec().decode(memoryview(data.getvalue()), "wav")).all()


@settings(max_examples=60)
@given(text=st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=60))
def test_tokens_of_any_text_decode_to_the_cleaned_text(text: str) -> None:
    from tokenizers import Tokenizer

    codec = text_codec(["a photo of a dog", "一张狗的照片"], max_tokens=2000)
    ids = codec.decode(memoryview(text.encode()), "txt")
    assert Tokenizer.from_str(codec.tokenizer).decode(ids.tolist()) == clean(text)
    assert PAD not in ids


def test_cleaning() -> None:
    assert clean("e\u0301") == "é"
    assert clean("  dog\r\n") == "dog"
    assert clean("schÃ¶n") == "schön"
    assert clean("数字三") == "数字三"


def test_the_same_texts_give_the_same_tokenizer() -> None:
    texts = [f"sentence {i} 句子 {i}" for i in range(50)]
    assert train_tokenizer(texts, 500) == train_tokenizer(texts, 500)


@pytest.mark.parametrize("data", [b"\xff\xfe\x00", b"caf\xe9", b"ok \xed\xa0\x80"])
def test_text_that_is_not_utf8_is_a_sample_error(data: bytes) -> None:
    with pytest.raises(SampleError) as caught:
        text_codec(["x"]).decode(memoryview(data), "txt")
    assert caught.value.reason == "bad_text"


def test_a_byte_order_mark_is_fine_and_length_is_limited() -> None:
    codec = text_codec(["dog"])
    with_mark = codec.decode(memoryview("\ufeffdog".encode()), "txt")
    assert with_mark.tolist() == codec.decode(memoryview(b"dog"), "txt").tolist()
    with pytest.raises(SampleError) as caught:
        codec.decode(memoryview(b"x" * (1 << 20 | 1)), "txt")
    assert caught.value.reason == "too_large"


def test_columns_give_back_the_values_and_what_is_missing() -> None:
    rng = np.random.default_rng(0)
    image, audio, text = image_codec(8), audio_codec(8000, 0.1, 8), text_codec(["abc"], 5)
    images = [rng.integers(0, 255, image.shape).astype(np.uint8), None]
    sounds = [None, rng.normal(size=audio.shape).astype(np.float16)]
    texts = [np.array([5, 6, 7], np.int32), None]
    for codec, values in ((image, images), (audio, sounds)):
        column = codec.to_arrow(values)
        assert column.type == codec.column.type
        for offset in (0, 1):  # slices must not shift values
            dense = codec.collate(column.slice(offset))
            for row, value in enumerate(values[offset:]):
                assert dense.present[row] == (value is not None)
                expected = value if value is not None else np.zeros(codec.shape)
                np.testing.assert_array_equal(dense.values[row], expected)
    dense = text.collate(text.to_arrow(texts))
    assert dense.values.tolist() == [[5, 6, 7, 0, 0], [0, 0, 0, 0, 0]]
    assert dense.present.tolist() == [True, False]
    assert isinstance(text.to_arrow(texts), pa.ListArray)


def test_shown_is_what_a_browser_plays() -> None:
    shown = image_codec().show(encoded(photo(800, 600), "JPEG"), "jpg")
    assert Image.open(io.BytesIO(shown)).size == (320, 240)
    sound, rate = soundfile.read(io.BytesIO(audio_codec(8000).show(memoryview(wav()), "wav")))
    assert rate == 8000
    assert abs(len(sound) - 2400) < 10
    assert text_codec(["x"]).show(memoryview("数字".encode()), "txt") == "数字"


def test_decoding_and_writing_never_import_torch_or_ray() -> None:
    code = (
        "import sys; import pipeline.modalities.decoding.decoder, pipeline.sinks.parquet, pipeline.config;"
        "from pipeline.modalities import ModalitiesConfig as M;"
        "c = M.model_validate({'image': {}, 'audio': {}}).by_name();"
        "[m.codec(None) for m in c.values()];"
        "sys.exit(any(n in sys.modules for n in ('torch', 'ray', 'librosa')))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_common_samples_do_not_need_is_not_imported() -> None:
    """A worker that a decoder is shipped to pays for every import before its first row."""
    modalities = ModalitiesConfig.model_validate({"image": {}, "audio": {}, "text": {}})
    decoder = Decoder.build(modalities, train_tokenizer(["a tone"], 300))
    fields = {"jpg": bytes(encoded(photo(), "JPEG")), "wav": wav(rate=16000), "txt": b"a tone"}
    code = (
        "import pickle, sys; decoder, fields = pickle.load(sys.stdin.buffer);"
        "from pipeline.sample import Field, Sample;"
        "members = {n: Field(memoryview(data), 0, len(data)) for n, data in fields.items()};"
        "table = decoder.decode([Sample('k', 's', 0, members)], '{}');"
        "assert table['modalities'].to_pylist() == [['image', 'text', 'audio']];"
        "slow = ('torch', 'librosa', 'scipy.fft', 'soundfile', 'soxr', 'ftfy');"
        "sys.exit(', '.join(name for name in slow if name in sys.modules) or None)"
    )
    shipped = pickle.dumps((decoder, fields))
    subprocess.run([sys.executable, "-c", code], input=shipped, check=True)


def test_modalities_need_at_least_one() -> None:
    with pytest.raises(ValueError, match="at least one of image, text, audio"):
        ModalitiesConfig.model_validate({})
