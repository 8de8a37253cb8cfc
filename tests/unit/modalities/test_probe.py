"""Headers against the libraries that decode, and what files are by their content."""

import io
import warnings

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from support.tones import png, wav

from pipeline.modalities.audio.probe import AudioHeader, probe_audio
from pipeline.modalities.content import EXTENSIONS, Content, misnamed, sniff
from pipeline.modalities.image.probe import probe_image
from pipeline.modalities.known_kinds import kinds_of_formats


def content(data: bytes) -> Content:
    return Content(len(data), memoryview(data))


def image(
    form: str, mode: str = "RGB", size: tuple[int, int] = (37, 23), **options: object
) -> bytes:
    data = io.BytesIO()
    Image.new(mode, size, 77 if mode in ("L", "P") else None).save(data, form, **options)
    return data.getvalue()


IMAGES = {
    "jpeg": image("JPEG"),
    "jpeg progressive": image("JPEG", progressive=True),
    "jpeg with 60 kB before its frame": image("JPEG", exif=b"Exif\0\0" + bytes(60_000)),
    "png": image("PNG", "P"),
    "gif": image("GIF", "P"),
    "webp": image("WEBP"),
    "webp lossless": image("WEBP", lossless=True),
    "webp with alpha": image("WEBP", "RGBA", exif=b"Exif\0\0II*\0"),
    "bmp": image("BMP"),
    "tiff": image("TIFF"),
}


@pytest.mark.parametrize("name", IMAGES)
def test_image_headers(name: str) -> None:
    data = IMAGES[name]
    found = sniff(data[:512])
    assert found == name.split()[0]
    assert probe_image(content(data), found) == (37, 23)


def sound(form: str, subtype: str | None, rate: int, channels: int, seconds: float) -> bytes:
    tone = np.sin(np.arange(int(rate * seconds)) * 0.05)[:, None].repeat(channels, 1) * 0.5
    data = io.BytesIO()
    soundfile.write(data, tone, rate, format=form, subtype=subtype)
    return data.getvalue()


SOUNDS = [
    ("WAV", "PCM_16", 8000, 1),
    ("WAV", "PCM_24", 44_100, 2),
    ("WAV", "FLOAT", 16_000, 1),
    ("WAV", "ULAW", 8000, 1),
    ("WAVEX", "PCM_16", 16_000, 4),
    ("RF64", "PCM_16", 16_000, 1),
    ("FLAC", "PCM_16", 22_050, 2),
    ("OGG", "VORBIS", 16_000, 1),
    ("OGG", "OPUS", 48_000, 2),
    ("MP3", None, 44_100, 2),
    ("MP3", None, 16_000, 1),
    ("AIFF", "PCM_16", 8000, 1),
]


@pytest.mark.parametrize("kind", SOUNDS, ids=[f"{a}-{b}-{c}-{d}" for a, b, c, d in SOUNDS])
def test_sound_headers(kind: tuple[str, str | None, int, int]) -> None:
    form, subtype, rate, channels = kind
    data = sound(form, subtype, rate, channels, 1.3)
    found = sniff(data[:512])
    assert kinds_of_formats()[found] == "audio"
    header = probe_audio(content(data), found)
    assert isinstance(header, AudioHeader)
    with soundfile.SoundFile(io.BytesIO(data)) as truth:
        assert (header.sample_rate_hz, header.channels) == (truth.samplerate, truth.channels)
        assert header.seconds == pytest.approx(truth.frames / truth.samplerate, rel=1e-3)
    assert header.exact
    assert not header.problem


def test_sounds_without_a_length_in_the_header_are_estimated_from_their_size() -> None:
    data = sound("MP3", None, 16_000, 1, 4.0)
    start = data.find(b"\xff\xf3")
    tag = max(data.find(b"Info"), data.find(b"Xing"))
    assert tag > start >= 0
    untagged = bytearray(data)
    untagged[tag : tag + 4] = b"\0\0\0\0"
    header = probe_audio(content(bytes(untagged)), "mp3")
    assert isinstance(header, AudioHeader)
    assert not header.exact
    assert header.sample_rate_hz == 16_000


def test_what_is_no_sound_is_said() -> None:
    assert "cannot be decoded" in str(probe_audio(content(b"no sound"), "text"))
    header = probe_audio(content(wav()[:300]), "wav")
    assert isinstance(header, AudioHeader)
    assert "declares 4800 bytes of sound and holds 256" in header.problem
    assert (
        probe_audio(content(sound("WAV", "PCM_16", 8000, 1, 0)), "wav")
        == "the sound holds no samples"
    )
    assert probe_image(content(b"no image"), "text") is None
    assert probe_image(content(b""), "unknown") is None


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", "text"),
        (b"7\n", "text"),
        ("Ä ä 高音".encode(), "text"),
        (("é" * 400).encode()[:511] + "é".encode()[:1], "text"),
        (b"\xff\xfeh\0i\0", "unknown"),
        (b"a\0b", "unknown"),
        (b" <!DOCTYPE html><p>404", "html"),
        (b'<?xml version="1.0"?><svg/>', "svg"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "git-lfs pointer"),
        (b"\0\0\0\x20ftypisom", "mp4"),
        (b"\0\0\0\x20ftypavif", "avif"),
        (b"RIFF\0\0\0\0AVI LIST", "avi"),
        (b"\xff\xfb\x90\x00", "mp3"),
        (b"ID3\x03", "mp3"),
        (b"\x1f\x8b\x08", "gzip"),
    ],
)
def test_sniffing(data: bytes, found: str) -> None:
    assert sniff(data) == found


def test_extensions_that_lie() -> None:
    assert misnamed("png", "jpeg")
    assert misnamed("jpg", "html")
    assert misnamed("seg.png", "unknown")
    assert misnamed("txt", "unknown")
    assert not misnamed("jpg", "jpeg")
    assert not misnamed("opus", "ogg")
    assert not misnamed("txt", "html"), "a page is a text"
    assert not misnamed("anything", "gzip")
    assert all(each in kinds_of_formats() for formats in EXTENSIONS.values() for each in formats)


@settings(max_examples=150)
@given(data=st.data())
def test_no_damage_makes_a_probe_fail(data: st.DataObject) -> None:
    whole = data.draw(st.sampled_from([*IMAGES.values(), png(), wav(), *_SOUNDS]))
    broken = bytearray(whole[: data.draw(st.integers(0, min(len(whole), 2000)))])
    for _ in range(data.draw(st.integers(0, 5)) if broken else 0):
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    member = content(bytes(broken))
    found = sniff(bytes(broken[:512]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in {found, "jpeg", "png", "webp", "gif"}:
            probe_image(member, name)
        for name in {found, "wav", "flac", "ogg", "mp3"}:
            probe_audio(member, name)


_SOUNDS = [sound(form, subtype, 16_000, 1, 0.3) for form, subtype, *_ in SOUNDS[5:10]]
