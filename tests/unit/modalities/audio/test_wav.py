"""Our WAV reader against soundfile: the same samples, and the same files refused."""

import io
import random
import struct

import numpy as np
import pytest
import soundfile
from support.tones import wav

from pipeline.errors import SampleError
from pipeline.modalities.audio import AudioConfig
from pipeline.modalities.audio.codec import AudioCodec
from pipeline.modalities.audio.wav import Waves, read_wav

RATE = 8000
NOISE = np.random.default_rng(0).normal(0, 0.3, (700, 6)).clip(-0.99, 0.99)
DIRECT = ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")


def written(form: str, subtype: str, channels: int = 1) -> bytes:
    data = io.BytesIO()
    soundfile.write(data, NOISE[:, :channels], RATE, format=form, subtype=subtype)
    return data.getvalue()


def codec(seconds: float = 0.05, **options: object) -> AudioCodec:
    config = AudioConfig(sample_rate_hz=RATE, max_seconds=seconds, num_mels=8)
    return config.codec(None, **options)  # type: ignore[arg-type]


def waves(data: bytes) -> Waves:
    found = read_wav(memoryview(data), "wav")
    assert found is not None
    return found


@pytest.mark.parametrize("channels", [1, 2, 6])
@pytest.mark.parametrize("form", ["WAV", "WAVEX", "RF64"])
@pytest.mark.parametrize("subtype", DIRECT)
def test_the_samples_are_soundfiles(subtype: str, form: str, channels: int) -> None:
    data = written(form, subtype, channels)
    expected, rate = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
    ours = waves(data)
    assert ours.rate_hz == rate
    assert ours.finite()
    mono = ours.mono(len(ours.data))
    assert mono.dtype == np.float32
    np.testing.assert_array_equal(mono, expected[:, 0] if channels == 1 else expected.mean(axis=1))
    np.testing.assert_array_equal(ours.mono(100), mono[:100])


@pytest.mark.parametrize(
    "subtype", sorted(set(soundfile.available_subtypes("WAV")) - set(DIRECT) - {"MPEG_LAYER_III"})
)
def test_other_codings_are_left_to_soundfile(subtype: str) -> None:
    try:
        data = written("WAV", subtype)
    except (soundfile.LibsndfileError, ValueError):
        pytest.skip(f"this libsndfile does not write {subtype}")
    assert read_wav(memoryview(data), "wav") is None
    expected, _ = soundfile.read(io.BytesIO(data), dtype="float32")
    np.testing.assert_array_equal(codec().waveform(memoryview(data), "wav"), expected[:400])


def chunk(name: bytes, content: bytes, size: int | None = None) -> bytes:
    return name + struct.pack("<I", len(content) if size is None else size) + content


def riff(*chunks: bytes) -> bytes:
    return b"RIFF" + struct.pack("<I", 4 + sum(map(len, chunks))) + b"WAVE" + b"".join(chunks)


FMT = chunk(b"fmt ", struct.pack("<HHIIHH", 1, 1, RATE, 2 * RATE, 2, 16))
SOUND = (NOISE[:300, 0] * 32767).astype("<i2").tobytes()


def test_chunks_around_the_sound_do_not_matter() -> None:
    plain = waves(riff(FMT, chunk(b"data", SOUND))).mono(300)
    odd = chunk(b"LIST", b"abc") + b"\0"  # a chunk of odd size is padded
    for data in (
        riff(odd, FMT, chunk(b"fact", bytes(4)), chunk(b"data", SOUND), odd),
        riff(FMT, odd, odd, chunk(b"data", SOUND)),
        riff(FMT, chunk(b"data", SOUND)) + b"trailing",
    ):
        np.testing.assert_array_equal(waves(data).mono(300), plain)


@pytest.mark.parametrize("kind", [b"RIFF", b"RF64", b"BW64"])
@pytest.mark.parametrize(
    "size", [0xFFFFFFFF, 0x7FFFFFFF, 0x7FFF0000, 0x7FFFF000, 0x80000000, 0xFFFFFF9B, 0xFFFFFFDB, 0]
)
def test_sizes_that_a_stream_could_not_know(size: int, kind: bytes) -> None:
    data = memoryview(kind + riff(FMT, chunk(b"data", SOUND, size))[4:])
    expected = waves(riff(FMT, chunk(b"data", SOUND))).mono(300)
    np.testing.assert_array_equal(codec().waveform(data, "wav")[:300], expected)


@pytest.mark.parametrize(
    ("data", "what"),
    [
        # Less than 1 % is what every player tolerates; see test_sound_lengths.
        (riff(FMT, chunk(b"data", SOUND, len(SOUND) + 8)), "declares 608 bytes"),
        (riff(FMT, chunk(b"data", SOUND))[:-8], "declares 600 bytes"),
        (riff(FMT, chunk(b"data", SOUND, 0x7FFEFFFF)), "declares 2147418111 bytes"),
        (riff(FMT, chunk(b"data", SOUND), chunk(b"data", SOUND)), "holds more sound"),
        (riff(FMT, chunk(b"data", SOUND)) * 2, "holds more sound"),
        (riff(FMT, chunk(b"data", b"", 0xFFFFFFFF)), "no samples"),
        (riff(FMT, chunk(b"data", b"\1")), "no samples"),
        (riff(FMT, chunk(b"data", b"")), "no samples"),
        (riff(FMT, chunk(b"data", b""), chunk(b"LIST", b"abcd")), "no samples"),
        (riff(FMT), "sound"),
        (riff(chunk(b"data", SOUND)), "sound"),
        (b"RIFF\0\0\0\0WAVE", "sound"),
    ],
)
def test_what_is_not_there_is_not_made_up(data: bytes, what: str) -> None:
    with pytest.raises(SampleError, match=what) as caught:
        codec().decode(memoryview(data), "wav")
    assert caught.value.reason == "bad_audio"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e39])
@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
def test_samples_that_are_no_numbers(value: float, subtype: str) -> None:
    sound = np.tile(NOISE[:, 0], 4)
    sound[2000] = value  # behind what is kept
    data = io.BytesIO()
    soundfile.write(data, sound, RATE, format="WAV", subtype=subtype)
    with pytest.raises(SampleError, match="NaN or infinite"):
        codec().decode(memoryview(data.getvalue()), "wav")
    codec(verify="kept").decode(memoryview(data.getvalue()), "wav")


def test_any_header_is_accepted_or_refused_as_soundfile_does() -> None:
    """Damage to headers: where libsndfile and the declared sizes agree that there is a sound, so do we."""
    chance = random.Random(0)
    files = [written("WAV", "PCM_16"), written("WAV", "PCM_24", 2), written("WAVEX", "FLOAT", 2)]
    accepted = 0
    for number in range(1200):
        data = bytearray(files[number % len(files)])
        for _ in range(chance.randint(1, 3)):
            data[chance.randrange(110)] = chance.choice([0, 1, 2, 255, chance.randrange(256)])
        broken = bytes(data[: chance.choice([len(data), len(data), chance.randrange(len(data))])])
        try:
            ours = codec().waveform(memoryview(broken), "wav")
        except SampleError:
            continue
        accepted += 1
        sound, rate = soundfile.read(io.BytesIO(broken), dtype="float32", always_2d=True)
        if rate == RATE:
            expected = sound.mean(axis=1)[:400] if sound.shape[1] > 1 else sound[:400, 0]
            np.testing.assert_array_equal(ours[: len(expected)], expected)
    assert accepted > 100


def test_damage_behind_what_is_kept() -> None:
    """``verify: full`` sees it, ``kept`` does not look; the sizes are checked either way."""
    data = io.BytesIO()
    soundfile.write(data, np.tile(NOISE[:, 0], 400), RATE, format="FLAC")
    whole = data.getvalue()
    cut = memoryview(whole[: len(whole) * 3 // 4])
    with pytest.raises(SampleError, match=r"ends after|cannot be decoded"):
        codec().decode(cut, "flac")
    kept = codec(verify="kept").decode(cut, "flac")
    np.testing.assert_array_equal(kept, codec().decode(memoryview(whole), "flac"))
    with pytest.raises(SampleError, match="declares"):
        codec(verify="kept").decode(memoryview(wav()[:-200]), "wav")
    with pytest.raises(SampleError):
        codec(verify="kept").decode(memoryview(whole[:300]), "flac")


def test_the_limit_of_minutes_counts_what_is_decoded() -> None:
    config = AudioConfig(sample_rate_hz=RATE, max_seconds=0.05, num_mels=8, max_minutes=0.001)
    for form in ("WAV", "FLAC"):
        data = memoryview(written(form, "PCM_16"))
        with pytest.raises(SampleError, match="max_minutes is 0.001") as caught:
            config.codec(None).decode(data, form.lower())
        assert caught.value.reason == "too_large"
