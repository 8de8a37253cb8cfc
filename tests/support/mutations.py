"""Damages small valid files at random and decodes them, in a process that the test can watch die.

One number makes one mutation: the kind of file, and what is done to it. ``python -m mutations FIRST COUNT PROGRESS``
runs the numbers from FIRST on, and keeps the one it is at in the file PROGRESS.
"""

from __future__ import annotations

import faulthandler
import gzip
import io
import os
import random
import struct
import sys
import tempfile
import zlib
from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image

from pipeline.modalities import ModalitiesConfig
from pipeline.modalities.audio.containers.ogg import page_checksum
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.modalities.image.resize import Picture, resize_and_crop
from pipeline.modalities.text.codec import train_tokenizer
from pipeline.objectives.classify.labels import ClassTarget
from pipeline.sample import REASONS, Field, Sample
from pipeline.shards.planning.plan import Part
from pipeline.shards.reading.reader import read_part, settled

BLOCK = 512
EXTREMES = tuple(
    value
    for bits in (8, 16, 32, 64)
    for value in (0, 1, (1 << bits - 1) - 1, 1 << bits - 1, (1 << bits) - 1)
)
IMAGE_FIELDS = ("png", "jpg", "webp", "gif", "tiff", "bmp", "avif")
SOUND_FIELDS = ("wav", "flac", "ogg", "mp3", "aiff")


@cache
def decoder() -> Decoder:
    modalities = ModalitiesConfig.model_validate(
        {
            # Small limits: a mutation that declares much is to be refused soon.
            "image": {"fields": IMAGE_FIELDS, "size": 16, "max_megapixels": 2},
            "text": {"fields": ["txt"], "max_tokens": 8, "max_bytes": 10_000},
            "audio": {
                "fields": SOUND_FIELDS,
                "sample_rate_hz": 8000,
                "max_seconds": 0.1,
                "num_mels": 8,
                "max_minutes": 0.5,
            },
        }
    )
    tokenizer = train_tokenizer(["a low tone"], 300)
    return Decoder.build(modalities, tokenizer, metadata=["json"], target=ClassTarget("cls"))


@cache
def files() -> tuple[tuple[str, bytes], ...]:
    """Extension and bytes of valid files."""
    rng = np.random.default_rng(0)
    picture = Image.fromarray(rng.integers(0, 255, (24, 30, 3), dtype=np.uint8))
    made: list[tuple[str, bytes]] = []

    def image(field: str, form: str, mode: str = "RGB", **options: object) -> None:
        data = io.BytesIO()
        picture.convert(mode).save(data, form, **options)
        made.append((field, data.getvalue()))

    def sound(field: str, subtype: str | None = None, rate: int = 8000, channels: int = 1) -> None:
        data, form = io.BytesIO(), "WAV" if field == "wav" else field.upper()
        time = np.arange(1500)[:, None].repeat(channels, 1)
        soundfile.write(data, 0.5 * np.sin(time * 0.1), rate, format=form, subtype=subtype)
        made.append((field, data.getvalue()))

    image("png", "PNG")
    image("png", "PNG", "P")
    image("png", "PNG", "RGBA")
    image("jpg", "JPEG")
    image("jpg", "JPEG", progressive=True)
    image("jpg", "JPEG", "CMYK")
    image("jpg", "JPEG", restart_marker_blocks=1)
    image("webp", "WEBP")
    image("webp", "WEBP", "RGBA", lossless=True)
    image("gif", "GIF", "P")
    image("tiff", "TIFF")
    image("tiff", "TIFF", compression="tiff_lzw")
    image("tiff", "TIFF", compression="tiff_deflate")
    image("bmp", "BMP")
    image("avif", "AVIF")
    for subtype in ("PCM_U8", "PCM_16", "PCM_24", "FLOAT", "DOUBLE", "ULAW", "IMA_ADPCM"):
        sound("wav", subtype, channels=1 + (subtype == "PCM_16"))
    sound("flac", "PCM_16", channels=2)
    sound("flac", "PCM_24")
    sound("ogg", "VORBIS")
    sound("ogg", "OPUS", 48_000)
    sound("mp3", rate=16_000)
    sound("aiff", "PCM_16")
    made.append(("txt", "a low tone, für 高音 &amp; \x1b[1m".encode() * 3))
    made.append(
        ("json", rb'{"a": [1, -2.5e3, {"b": "\u00e9\ud83d\ude00"}], "c": [[[null, true]]]}')
    )
    made.append(("cls", b"low"))
    return tuple(made)


def run(number: int, folder: Path) -> str:
    """Makes and decodes one mutation; says what became of it.

    Raises:
        Exception: Anything but a row is a fault of the pipeline.
    """
    chance = random.Random(number)
    kind = chance.random()
    if kind < 0.1:
        return _resize(chance)
    if kind < 0.25:
        return _read_tar(chance, folder)
    return _decode(chance)


def _decode(chance: random.Random) -> str:
    field, data = chance.choice(files())
    broken = mutated(chance, data)
    if chance.random() < 0.6:
        broken = repaired(broken)
    if chance.random() < 0.05:
        field = chance.choice(IMAGE_FIELDS + SOUND_FIELDS)
    good = {"txt": b"a low tone", "cls": b"low"}
    samples = [_sample("k", 0, {**good, field: broken}), _sample("l", 1, good)]
    table = decoder().decode(samples, "{}")
    table.validate(full=True)
    first, second = table.select(["key", "ordinal", "modalities", "error"]).to_pylist()
    assert (first["key"], second["key"]) == ("k", "l")
    assert second["error"] is None
    error = first["error"]
    if error is None:
        assert "text" in first["modalities"]
        return f"{field} good"
    assert error["reason"] in REASONS
    assert not first["modalities"]
    return f"{field} {error['reason']}"


def _sample(key: str, ordinal: int, fields: dict[str, bytes]) -> Sample:
    members = {name: Field(memoryview(data), 0, len(data)) for name, data in fields.items()}
    return Sample(key, "x.tar", ordinal, members)


@cache
def archives() -> tuple[bytes, ...]:
    import tarfile

    made = []
    for form in (tarfile.USTAR_FORMAT, tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        data = io.BytesIO()
        with tarfile.open(fileobj=data, mode="w", format=form) as tar:
            for number in range(4):
                long = "n" * 120 if number == 1 and form != tarfile.USTAR_FORMAT else "s"
                for extension, content in (
                    ("txt", b"a low tone"),
                    ("cls", b"low"),
                    ("json", b"{}"),
                ):
                    info = tarfile.TarInfo(f"{long}{number}.{extension}")
                    info.size = len(content)
                    tar.addfile(info, io.BytesIO(content))
        made.append(data.getvalue()[: 34 * BLOCK])
    return tuple(made)


def _read_tar(chance: random.Random, folder: Path) -> str:
    import zstandard

    broken = mutated(chance, chance.choice(archives()))
    if chance.random() < 0.6:
        broken = resealed(broken)
    name, pack = chance.choice(
        [
            ("x.tar", None),
            ("x.tar", None),
            ("x.tar.gz", gzip.compress),
            ("x.tar.zst", zstandard.compress),
        ]
    )
    if pack is not None:
        broken = pack(broken)
        broken = mutated(chance, broken) if chance.random() < 0.5 else broken
    (folder / name).write_bytes(broken)
    items = list(read_part(Part(name, str(folder / name), "")))
    table = decoder().decode(items, "{}")
    assert table.num_rows == len(settled(items)) > 0
    rows = table.select(["key", "ordinal", "modalities", "error"]).to_pylist()
    ordinals = [row["ordinal"] for row in rows if row["key"] is not None]
    assert ordinals == list(range(len(ordinals)))
    for row in rows:
        assert (row["error"] is None) == bool(row["modalities"])
        assert row["error"] is None or row["error"]["reason"] in REASONS
    return "tar " + ("damaged" if any(row["error"] for row in rows) else "good")


def _resize(chance: random.Random) -> str:
    """The resizer with any size, also those at which it once crashed."""

    def side() -> int:
        return chance.choice(
            [1, 2, 3, chance.randint(1, 9), chance.randint(1, 70), chance.randint(1, 700)]
        )

    height, width, size = (
        side(),
        side(),
        chance.choice([1, 8, chance.randint(8, 40), chance.randint(8, 300)]),
    )
    factor = chance.choice([1, 1, 1, 2, 4, 8])
    pixels = np.full((height, width, 3), chance.randrange(256), dtype=np.uint8)
    whole_height = height * factor - chance.randrange(factor)
    whole_width = width * factor - chance.randrange(factor)
    turn = chance.randrange(10)
    square = resize_and_crop(Picture(pixels, whole_width, whole_height, factor, turn), size)
    assert square.shape == (size, size, 3)
    assert abs(square.astype(int) - int(pixels[0, 0, 0])).max() <= 1, "one colour stays one colour"
    return "resized"


# What is done to a file


def mutated(chance: random.Random, data: bytes) -> bytes:
    """A file with one to four changes."""
    broken = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 3, 4))):
        if not broken:
            break
        chance.choice(CHANGES)(chance, broken)
    return bytes(broken)


def _place(chance: random.Random, data: bytearray) -> int:
    near = chance.choice((16, 64, 200, len(data), len(data)))
    return chance.randrange(min(near, len(data)))


def _length(chance: random.Random) -> int:
    return chance.choice((1, 2, 4, 8, chance.randint(1, 100), chance.randint(1, 1000)))


def _flip(chance: random.Random, data: bytearray) -> None:
    data[_place(chance, data)] ^= 1 << chance.randrange(8)


def _set(chance: random.Random, data: bytearray) -> None:
    data[_place(chance, data)] = chance.choice(
        (0, 1, 0x7F, 0x80, 0xFE, 0xFF, chance.randrange(256))
    )


def _cut(chance: random.Random, data: bytearray) -> None:
    del data[chance.choice((_place(chance, data), max(0, len(data) - chance.randint(1, 20)))) :]


def _drop(chance: random.Random, data: bytearray) -> None:
    place = _place(chance, data)
    del data[place : place + _length(chance)]


def _insert(chance: random.Random, data: bytearray) -> None:
    place = _place(chance, data)
    data[place:place] = chance.randbytes(_length(chance))


def _twice(chance: random.Random, data: bytearray) -> None:
    place, to = _place(chance, data), _place(chance, data)
    data[to:to] = data[place : place + _length(chance)]


def _zero(chance: random.Random, data: bytearray) -> None:
    place = _place(chance, data)
    end = min(len(data), place + _length(chance))
    data[place:end] = bytes(end - place)


def _extreme(chance: random.Random, data: bytearray) -> None:
    size, place = chance.choice((1, 2, 4, 8)), _place(chance, data)
    value = chance.choice(EXTREMES) & ((1 << 8 * size) - 1)
    order = chance.choice(("little", "big"))
    data[place : place + size] = value.to_bytes(size, order)  # type: ignore[arg-type]


def _splice(chance: random.Random, data: bytearray) -> None:
    """The end of another file in the place of this one's."""
    other = chance.choice(files())[1]
    data[_place(chance, data) :] = other[chance.randrange(len(other)) :]


CHANGES = (
    _flip,
    _flip,
    _set,
    _set,
    _cut,
    _drop,
    _insert,
    _twice,
    _zero,
    _extreme,
    _extreme,
    _extreme,
    _splice,
)


def repaired(data: bytes) -> bytes:
    """The file with checksums that hold, as far as there are any: what a forger would send."""
    if data.startswith(b"\x89PNG"):
        return _repaired_png(bytearray(data))
    if data.startswith(b"OggS"):
        return _repaired_ogg(bytearray(data))
    if data.startswith(b"RIFF"):
        return data[:4] + struct.pack("<I", max(0, len(data) - 8)) + data[8:]
    return data


def _repaired_png(data: bytearray) -> bytes:
    offset = 8
    while offset + 12 <= len(data):
        (size,) = struct.unpack_from(">I", data, offset)
        end = offset + 12 + size
        if end > len(data):
            break
        data[end - 4 : end] = struct.pack(">I", zlib.crc32(data[offset + 4 : end - 4]))
        offset = end
    return bytes(data)


def _repaired_ogg(data: bytearray) -> bytes:
    offset = 0
    while data[offset : offset + 4] == b"OggS" and offset + 27 <= len(data):
        content = offset + 27 + data[offset + 26]
        end = content + sum(data[offset + 27 : content])
        if end > len(data):
            break
        data[offset + 22 : offset + 26] = struct.pack(
            "<I", page_checksum(memoryview(bytes(data[offset:end])))
        )
        offset = end
    return bytes(data)


def resealed(data: bytes) -> bytes:
    """A tar in which the checksum of every header holds."""
    broken = bytearray(data)
    for start in range(0, len(broken) - BLOCK + 1, BLOCK):
        block = broken[start : start + BLOCK]
        if block[257:262] == b"ustar":
            block[148:156] = b" " * 8
            broken[start + 148 : start + 156] = b"%06o\0 " % sum(block)
    return bytes(broken)


def main(first: int, count: int, progress: Path) -> None:
    faulthandler.enable()
    outcomes: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder, progress.open("wb") as file:
        for number in range(first, first + count):
            os.pwrite(file.fileno(), b"%020d" % number, 0)
            outcomes[run(number, Path(folder))] += 1
    for outcome, times in sorted(outcomes.items()):
        sys.stdout.write(f"{outcome}: {times}\n")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
