"""What each decode kernel is held against: a reference from well-known libraries, and a floor."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import ftfy
import librosa
import numpy as np
import simplejpeg
import soundfile
import soxr
from PIL import Image
from tokenizers import Tokenizer

from bench import limit
from bench.workload import CHARACTERS, MODALITIES, RATE_HZ, SECONDS, distinct_samples
from pipeline import storage
from pipeline.modalities import ModalitiesConfig
from pipeline.modalities.audio import AudioConfig
from pipeline.modalities.audio.codec import AudioCodec, read_mono
from pipeline.modalities.audio.fft import load_rfft
from pipeline.modalities.audio.mel import LogMel
from pipeline.modalities.base import Item
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.modalities.image import ImageConfig
from pipeline.modalities.image.codec import ImageCodec
from pipeline.modalities.text import TextConfig
from pipeline.modalities.text.codec import TextCodec, train_tokenizer
from pipeline.sample import Field, Sample
from pipeline.shards.tar.scanner import scan

SAMPLES = 48  # a call goes through these
TEXTS = 64
MEMBERS = 4000
Work = Callable[[], object]


@dataclass(frozen=True)
class Kernel:
    """One kernel and what it is held against; each does the same number of units of work a call.

    Attributes:
        ours: The kernel.
        reference: Its twin from well-known libraries.
        floor: What remains of the work when everything that can be saved is saved.
        floor_name: What that is.
        units: Units of work a call does.
        gain: What would bring the kernel closer to its floor.
        of_sample: Whether a sample of the workload needs it.
    """

    ours: Work
    reference: Work
    floor: Work
    floor_name: str
    gain: str
    units: int = 1
    of_sample: bool = False


def make_kernels(folder: Path) -> dict[str, Kernel]:
    """The kernels of a sample first, then those that other data needs."""
    samples = [
        {name: memoryview(data) for name, data in sample.items()}
        for _, sample in zip(range(SAMPLES), distinct_samples(), strict=False)
    ]
    texts = [str(sample["txt"], "utf-8") for sample in samples]
    tokenizer = train_tokenizer(texts, limit.VOCAB_SIZE)
    decoder = Decoder.build(ModalitiesConfig.model_validate(MODALITIES), tokenizer)
    image = ImageConfig.model_validate(MODALITIES["image"]).codec(None)
    audio = AudioConfig.model_validate(MODALITIES["audio"]).codec(None)
    text = TextConfig.model_validate(MODALITIES["text"]).codec(tokenizer)
    photos = [sample["jpg"] for sample in samples]
    with Image.open(io.BytesIO(photos[0])) as opened:
        large = opened.convert("RGB").resize((2000, 1500), Image.Resampling.BICUBIC)
        small = opened.convert("RGB").resize((500, 375), Image.Resampling.BICUBIC)
    return {
        "whole sample": whole_kernel(samples, decoder, tokenizer),
        "jpeg 500x375 -> 224": jpeg_kernel(photos, image),
        "wav, 4 s": wav_kernel([sample["wav"] for sample in samples], audio),
        "log-mel of 4 s": mel_kernel(),
        f"text, {CHARACTERS} characters": text_kernel(texts, text),
        "jpeg 2000x1500 -> 224": jpeg_kernel([encoded(large, "JPEG", quality=90)], image),
        "png 500x375 -> 224": png_kernel(encoded(small, "PNG"), image),
        "flac, 4 s": flac_kernel(samples[0]["wav"], audio),
        "44.1 kHz -> 16 kHz, 4 s": resample_kernel(audio),
        "tar, a header": tar_kernel(folder),
    }


def whole_kernel(samples: list[dict[str, memoryview]], decoder: Decoder, tokenizer: str) -> Kernel:
    """``Decoder.decode``, against the kernels of ``bench.limit``; its floor is the sum of the kernels'."""
    items = [
        Sample(
            f"{n:08d}", "x.tar", n, {name: Field(data, 0, len(data)) for name, data in one.items()}
        )
        for n, one in enumerate(samples)
    ]
    engine = Tokenizer.from_str(tokenizer)
    groups = {
        name: [Item(one[decoder.fields[name][0]], decoder.fields[name][0]) for one in samples]
        for name in decoder.codecs
    }
    rooms = {name: codec.empty(len(items)) for name, codec in decoder.codecs.items()}

    def kernels_alone() -> None:
        for name, codec in decoder.codecs.items():
            room = rooms[name]
            codec.decode_batch(groups[name], None if room is None else list(room))

    return Kernel(
        ours=lambda: decoder.decode(iter(items), "{}"),
        reference=lambda: limit.limit_samples(samples, engine),
        floor=kernels_alone,
        floor_name="our kernels without rows and columns",
        gain="columns in memory that was written to before",
        units=len(samples),
    )


def jpeg_kernel(photos: list[memoryview], codec: ImageCodec) -> Kernel:
    """Against Pillow decoding every pixel."""
    ours, theirs, floors = cycle(photos), cycle(photos), cycle(photos)

    def eighth() -> None:
        for _ in photos:
            simplejpeg.decode_jpeg(next(floors), "RGB", min_height=1, min_width=1)

    return Kernel(
        ours=lambda: [codec.decode(next(ours), "jpg") for _ in photos],
        reference=lambda: [pillow_square(next(theirs), codec.size) for _ in photos],
        floor=eighth,
        floor_name="decoding at 1/8: the entropy coding",
        gain="decoding only the rows and columns of the centre, which simplejpeg does not offer",
        units=len(photos),
        of_sample=len(photos) > 1,
    )


def png_kernel(data: memoryview, codec: ImageCodec) -> Kernel:
    """Against Pillow resizing; both decode with Pillow."""

    def decoded() -> None:
        with Image.open(io.BytesIO(data)) as image:
            image.load()

    return Kernel(
        ours=lambda: codec.decode(data, "png"),
        reference=lambda: pillow_square(data, codec.size),
        floor=decoded,
        floor_name="Pillow's decoding alone",
        gain="a decoder with a faster inflate",
    )


def pillow_square(data: memoryview, size: int) -> np.ndarray:
    """Every pixel decoded, the short side resized, the centre cut out."""
    with Image.open(io.BytesIO(data)) as image:
        whole = image.convert("RGB")
    scale = size / min(whole.size)
    target = (max(size, round(whole.width * scale)), max(size, round(whole.height * scale)))
    small = whole.resize(target, Image.Resampling.BICUBIC)
    left, top = (target[0] - size) // 2, (target[1] - size) // 2
    return np.asarray(small.crop((left, top, left + size, top + size)))


def wav_kernel(sounds: list[memoryview], codec: AudioCodec) -> Kernel:
    """Against librosa.load."""
    return Kernel(
        ours=lambda: [read_mono(s, "wav", codec.max_decoded_seconds, SECONDS) for s in sounds],
        reference=lambda: [librosa.load(io.BytesIO(s), sr=RATE_HZ, mono=True) for s in sounds],
        floor=lambda: [limit.limit_wav(sound).astype(np.float32) for sound in sounds],
        floor_name="no checks, one cast",
        gain="scaling straight into the frames of the log-mel",
        units=len(sounds),
        of_sample=True,
    )


def mel_kernel() -> Kernel:
    """Against librosa's."""
    kernel = LogMel(RATE_HZ, limit.NUM_SAMPLES, limit.WINDOW, limit.HOP, limit.NUM_MELS)
    sound = np.random.default_rng(0).normal(0, 0.1, limit.NUM_SAMPLES).astype(np.float32)
    room = np.empty((limit.NUM_MELS, kernel.num_frames), dtype=np.float16)
    rfft, frames = load_rfft(), kernel.frames * kernel.window

    def reference() -> np.ndarray:
        mel = librosa.feature.melspectrogram(
            y=sound, sr=RATE_HZ, n_fft=limit.WINDOW, hop_length=limit.HOP, n_mels=limit.NUM_MELS
        )
        return np.asarray(librosa.power_to_db(mel))

    return Kernel(
        ours=lambda: kernel.write(sound, room),
        reference=reference,
        floor=lambda: rfft(frames),
        floor_name="the Fourier transform alone",
        gain="window, power and filters in one pass, which takes compiled code",
        of_sample=True,
    )


def text_kernel(texts: list[str], codec: TextCodec) -> Kernel:
    """Against ftfy and the tokenizer, one text after the other."""
    engine = Tokenizer.from_str(codec.tokenizer)
    many = [text for text, _ in zip(cycle(texts), range(TEXTS), strict=False)]
    items = [Item(memoryview(text.encode()), "txt") for text in many]

    def reference() -> None:
        for item in items:
            text = ftfy.fix_text(str(item.data, "utf-8"), uncurl_quotes=False).strip()
            np.array(engine.encode(text).ids[: codec.max_tokens], dtype=np.int32)

    return Kernel(
        ours=lambda: codec.decode_batch(items),
        reference=reference,
        floor=lambda: engine.encode_batch_fast(many, add_special_tokens=False),
        floor_name="encode_batch_fast alone",
        gain="ids as arrays instead of lists, which tokenizers does not offer",
        units=TEXTS,
        of_sample=True,
    )


def flac_kernel(wav: memoryview, codec: AudioCodec) -> Kernel:
    """Against librosa.load."""
    sound, rate = soundfile.read(io.BytesIO(wav), dtype="float32")
    written = io.BytesIO()
    soundfile.write(written, sound[: round(SECONDS * rate)], rate, format="FLAC")
    data = memoryview(written.getvalue())
    return Kernel(
        ours=lambda: codec.waveform(data, "flac"),
        reference=lambda: librosa.load(io.BytesIO(data), sr=RATE_HZ, mono=True),
        floor=lambda: soundfile.read(io.BytesIO(data), dtype="float32"),
        floor_name="soundfile.read",
        gain="input.verify=kept, where sounds are longer than what is kept",
    )


def resample_kernel(codec: AudioCodec) -> Kernel:
    """A WAV of 44.1 kHz, against librosa.load; both resample with soxr's HQ."""
    sound = np.random.default_rng(0).normal(0, 0.1, round(44_100 * SECONDS)).astype(np.float32)
    written = io.BytesIO()
    soundfile.write(written, sound, 44_100, format="WAV")
    data = memoryview(written.getvalue())
    return Kernel(
        ours=lambda: codec.waveform(data, "wav"),
        reference=lambda: librosa.load(io.BytesIO(data), sr=RATE_HZ, mono=True),
        floor=lambda: soxr.resample(sound, 44_100, RATE_HZ, quality="LQ"),
        floor_name="soxr LQ",
        gain="soxr LQ or MQ, at the price of the highest frequencies",
    )


def tar_kernel(folder: Path) -> Kernel:
    """The strict header scan, against tarfile."""
    path = folder / "x.tar"
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for index in range(MEMBERS):
            member = tarfile.TarInfo(f"{index:06d}.txt")
            member.size = 100
            tar.addfile(member, io.BytesIO(bytes(100)))

    def ours() -> int:
        source = storage.open_source(str(path))
        count = sum(1 for _ in scan(source))
        source.close()
        return count

    def reference() -> int:
        with tarfile.open(path) as tar:
            return len(tar.getmembers())

    return Kernel(
        ours=ours,
        reference=reference,
        floor=lambda: list(limit.read_samples(memoryview(path.read_bytes()))),
        floor_name="headers unchecked",
        gain="an index beside the shard",
        units=MEMBERS,
    )


def encoded(image: Image.Image, form: str, **options: object) -> memoryview:
    data = io.BytesIO()
    image.save(data, form, **options)
    return memoryview(data.getvalue())
