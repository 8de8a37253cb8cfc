"""Makes the demo's data set: a digit as handwriting, as speech and as a sentence.

One sample a scan of scikit-learn's 1,797 handwritten digits. Speech and sentence name the same
digit, each in a language of its own. Every modality is degraded or missing now and then, so that
none is enough alone, but at least one of the three is always intact.
"""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jobs.demo_source import images, sentences, speech
from pipeline.errors import SinkError
from pipeline.logs import event
from pipeline.packing.config import PackConfig
from pipeline.packing.pack import PackResult, pack

logger = logging.getLogger(__name__)

NAME = "demo"
SPLIT = {"train": 0.7, "val": 0.1, "test": 0.2}
MODALITIES = ("image", "audio", "text")
COLUMNS = {"png": "image", "wav": "audio", "txt": "text", "cls": "digit", "json": "details"}

_VERSION = 3  # raise it whenever the same arguments make other samples
_MARKER = f"_{NAME}.json"
_MISSING_FRACTION = 0.07
_DEGRADED_FRACTION = 0.39  # of those present, before the rule that one stays intact
_WRONG_FRACTION = 0.1  # of the degraded sentences: they say another digit
_CLEAR_SNR_DB = (15.0, 30.0)
_DROWNED_SNR_DB = (-24.0, -18.0)
_SAMPLES_PER_SHARD = 220  # makes about 6 training shards


@dataclass(frozen=True, slots=True)
class _Plan:
    """What becomes of a sample's modalities."""

    missing: list[str] = field(default_factory=list)
    degraded: list[str] = field(default_factory=list)


def make_demo_data(folder: Path, seed: int = 0, num_samples: int | None = None) -> None:
    """Makes the data set as shards ``demo-train-*.tar``, ``demo-val-*.tar`` and ``demo-test-*.tar``.

    The fields are png (32x32 RGB), wav (one second, 16 kHz, 16 bits), txt, cls (the digit), and
    json with how the sample was made, which is not for models to see; json.captions are English
    sentences that say the digit, whatever is degraded, and json.spoken is the digit's word in the
    language of the sound. The same arguments make the same bytes. If the folder holds this very
    data set already, nothing is done.

    Args:
        folder: Where the shards go.
        seed: Of all that is drawn.
        num_samples: How many, for a first try; all 1,797 scans unless given.

    Raises:
        SinkError: The folder cannot be written.
        PipelineError: The speech synthesizer does not start.
    """
    folder = Path(folder)
    request = {"version": _VERSION, "seed": seed, "num_samples": num_samples}
    if _is_made(folder, request):
        event(logger, "demo_data_already_made", folder=folder)
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _MARKER).unlink(missing_ok=True)
        with tempfile.TemporaryDirectory(prefix=".source-", dir=folder) as staging:
            table = make_demo_source(Path(staging), seed, num_samples)
            result = pack_demo_source(table, folder)
        _mark_made(folder, request, result)
    except OSError as error:
        raise SinkError(
            f"the demo's data cannot be written: {error.strerror or error}",
            where=str(folder),
            fix="check the disk's space and permissions",
        ) from error


def make_demo_source(folder: Path, seed: int = 0, num_samples: int | None = None) -> Path:
    """Makes the data set as files and a table, the way a user's own data may lie before packing.

    Args:
        folder: Where ``image/``, ``audio/`` and ``demo.jsonl`` go.
        seed: Of all that is drawn.
        num_samples: How many; all 1,797 scans unless given.

    Returns:
        The table, with the columns key, image, audio, text, digit and details.
    """
    for modality in ("image", "audio"):
        (folder / modality).mkdir(parents=True, exist_ok=True)
    table = folder / f"{NAME}.jsonl"
    with table.open("w", encoding="utf-8") as lines:
        for row in _make_rows(folder, seed, num_samples):
            lines.write(json.dumps(row, ensure_ascii=False, sort_keys=True) + "\n")
    return table


def pack_demo_source(table: Path, folder: Path) -> PackResult:
    """Packs the table of :func:`make_demo_source` into the shards of the demo."""
    return pack(
        PackConfig(
            source=str(table),
            output=str(folder),
            name=NAME,
            columns=COLUMNS,
            key="key",
            split=SPLIT,
            max_shard_samples=_SAMPLES_PER_SHARD,
            # The demo knows by a file of its own whether its shards are of these arguments.
            overwrite=True,
        )
    )


def _make_rows(folder: Path, seed: int, num_samples: int | None) -> Iterator[dict[str, object]]:
    scans, digits = images.load_scans()
    with speech.Speaker() as speaker:
        for index, (scan, digit) in enumerate(zip(scans, digits, strict=True)):
            if index == num_samples:
                return
            yield _make_row(folder, index, scan, int(digit), speaker, seed)


def _make_row(
    folder: Path,
    index: int,
    scan: NDArray[np.float64],
    digit: int,
    speaker: speech.Speaker,
    seed: int,
) -> dict[str, object]:
    """Writes the files of one sample and returns its row of the table."""
    rng = np.random.default_rng([seed, index])
    key = f"{index:04d}"
    plan = _draw_plan(rng)
    image = images.draw(scan, rng)
    if "image" in plan.degraded:
        image = images.occlude(image, rng)
    voice = speech.choose_voice(rng)
    snr_db = rng.uniform(*(_DROWNED_SNR_DB if "audio" in plan.degraded else _CLEAR_SNR_DB))
    audio = speech.record(speaker.say(str(digit), voice), snr_db, rng)
    language = sentences.choose_language(rng)
    text, named = _write_sentence(language, digit, "text" in plan.degraded, rng)
    row: dict[str, object] = {"key": key, "text": text, "digit": digit}
    for modality, name, data in (
        ("image", f"image/{key}.png", images.to_png(image)),
        ("audio", f"audio/{key}.wav", speech.to_wav(audio)),
    ):
        if modality not in plan.missing:
            (folder / name).write_bytes(data)
            row[modality] = name
    if "text" in plan.missing:
        del row["text"]
    row["details"] = {
        "scan": index,
        "captions": sentences.naming_sentences("en", digit),
        **asdict(plan),
        "voice": asdict(voice),
        "spoken": sentences.LANGUAGES[speech.LANGUAGES[voice.language]].digits[digit],
        "snr_db": round(float(snr_db), 1),
        "text_language": language,
        "text_names": named,
    }
    return row


def _draw_plan(rng: np.random.Generator) -> _Plan:
    """Draws what is missing and what is degraded, each by itself, until something is intact.

    A sample that nobody could label would not be in a data set.
    """
    while True:
        plan = _Plan()
        for modality in MODALITIES:
            if rng.random() < _MISSING_FRACTION:
                plan.missing.append(modality)
            elif rng.random() < _DEGRADED_FRACTION:
                plan.degraded.append(modality)
        if len(plan.missing) + len(plan.degraded) < len(MODALITIES):
            return plan


def _write_sentence(
    language: str, digit: int, is_degraded: bool, rng: np.random.Generator
) -> tuple[str, int | None]:
    """Draws a sentence; returns it and the digit it names."""
    if is_degraded and rng.random() >= _WRONG_FRACTION:
        return sentences.silent_sentence(language, rng), None
    named = (digit + int(rng.integers(1, 10))) % 10 if is_degraded else digit
    return sentences.naming_sentence(language, named, rng), named


def _is_made(folder: Path, request: Mapping[str, object]) -> bool:
    try:
        marker = json.loads((folder / _MARKER).read_text(encoding="utf-8"))
        shards = marker["shards"]
        return marker["request"] == request and all(
            (folder / name).stat().st_size == size for name, size in shards.items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _mark_made(folder: Path, request: Mapping[str, object], result: PackResult) -> None:
    marker = {
        "request": request,
        "samples": result.samples_per_split,
        "shards": {shard.name: shard.num_bytes for shard in result.shards},
    }
    staged = folder / f".{_MARKER}"
    staged.write_text(json.dumps(marker, indent=1) + "\n", encoding="utf-8")
    staged.replace(folder / _MARKER)
