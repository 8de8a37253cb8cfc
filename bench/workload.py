"""The shards that every benchmark reads: photos of about 110 KB, 4 s of sound, 400 characters of text.

Photos and voices come from real samples where ``SOURCE`` has some (each photo is brought to 500 pixels and given the
grain that a camera's JPEG of 110 KB has), and are made otherwise; the distinct samples repeat until there are enough.
"""

from __future__ import annotations

import io
import tarfile
import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
import soxr
from PIL import Image

from pipeline.sample import Sample
from pipeline.shards.planning.plan import expand, plan
from pipeline.shards.reading.reader import read_part

SOURCE = Path("../shared/data/perf")
DISTINCT = 300
LONG_SIDE = 500
PHOTO_BYTES = 110_000
RATE_HZ = 16_000
SECONDS = 4.0
CHARACTERS = 415
MODALITIES = {
    "image": {"fields": ["jpg"], "size": 224},
    "text": {"fields": ["txt"], "max_tokens": 64, "vocab_size": 2048},
    "audio": {
        "fields": ["wav", "flac"],
        "sample_rate_hz": RATE_HZ,
        "max_seconds": SECONDS,
        "num_mels": 80,
    },
}


def make_shards(folder: Path, num_samples: int, num_shards: int) -> list[Path]:
    """Writes ``num_samples`` samples into ``num_shards`` tars of equal size; what is there already stays."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"bench-{index:06d}.tar" for index in range(num_shards)]
    if all(path.exists() for path in paths):
        return paths
    samples = list(distinct_samples())
    each = -(-num_samples // num_shards)
    for index, path in enumerate(paths):
        partial = path.with_suffix(".part")
        with tarfile.open(partial, "w", format=tarfile.USTAR_FORMAT) as archive:
            for number in range(index * each, min(num_samples, (index + 1) * each)):
                for extension, data in samples[number % len(samples)].items():
                    member = tarfile.TarInfo(f"{number:08d}.{extension}")
                    member.size = len(data)
                    archive.addfile(member, io.BytesIO(data))
        partial.rename(path)
    return paths


def distinct_samples() -> Iterator[dict[str, bytes]]:
    """The samples that repeat: extension -> bytes."""
    random = np.random.default_rng(0)
    real = _real_media()
    for index in range(DISTINCT):
        photo, voice = real[index % len(real)] if real else (_texture(random), _tone(random))
        yield {
            "jpg": _photo(photo, random),
            "wav": _voice(voice, random),
            "txt": _text(random).encode(),
            "json": b'{"id":%d}' % index,
            "cls": b"%d" % (index % 10),
        }


def _real_media() -> list[tuple[Image.Image, np.ndarray]]:
    if not SOURCE.is_dir():
        return []
    found = []
    for part in plan(expand(str(SOURCE))):
        for item in read_part(part):
            if isinstance(item, Sample):
                photo = Image.open(io.BytesIO(item.fields["jpg"].data)).convert("RGB")
                sound, rate = soundfile.read(io.BytesIO(item.fields["flac"].data), dtype="float32")
                found.append((photo, soxr.resample(sound, rate, RATE_HZ)))
    return found[:DISTINCT]


def _texture(random: np.random.Generator) -> Image.Image:
    coarse = random.integers(0, 256, (24, 32, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((500, 375), Image.Resampling.BICUBIC)


def _tone(random: np.random.Generator) -> np.ndarray:
    time = np.arange(int(SECONDS * RATE_HZ)) / RATE_HZ
    return (0.3 * np.sin(2 * np.pi * random.uniform(100, 2000) * time)).astype(np.float32)


def _photo(photo: Image.Image, random: np.random.Generator) -> bytes:
    """A JPEG of about ``PHOTO_BYTES``, give or take the spread that photos have."""
    scale = LONG_SIDE / max(photo.size)
    size = (round(photo.width * scale), round(photo.height * scale))
    pixels = np.asarray(photo.resize(size, Image.Resampling.BICUBIC), dtype=np.float32)
    grain = random.normal(0, 6, pixels.shape[:2])[..., None]
    grainy = Image.fromarray(np.clip(pixels + grain, 0, 255).astype(np.uint8))
    wanted = PHOTO_BYTES * random.uniform(0.7, 1.3) * size[0] * size[1] / (500 * 375)
    low, high = 60, 97
    while low < high:
        quality = (low + high + 1) // 2
        if len(_encode(grainy, quality)) <= wanted:
            low = quality
        else:
            high = quality - 1
    return _encode(grainy, low)


def _encode(image: Image.Image, quality: int) -> bytes:
    data = io.BytesIO()
    image.save(data, "JPEG", quality=quality)
    return data.getvalue()


def _voice(sound: np.ndarray, random: np.random.Generator) -> bytes:
    length = int(random.uniform(3.0, 5.0) * RATE_HZ)
    repeated = np.resize(sound, length)
    data = io.BytesIO()
    with wave.open(data, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes((np.clip(repeated, -1, 1) * 32767).astype("<i2").tobytes())
    return data.getvalue()


SENTENCE = (
    "a photo of the old harbour with two boats and some people who walk along the quay in the evening light while "
    "a dog looks at the water, a child eats bread, clouds move over the hill, and somebody plays music near the door"
)


def _text(random: np.random.Generator) -> str:
    words = random.choice(SENTENCE.split(), CHARACTERS // 3)
    return " ".join(words)[:CHARACTERS]
