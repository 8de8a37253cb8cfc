"""Jobs that leave out copies, leaks and what filters refuse: on real shards and a real Ray."""

import io
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
from PIL import Image
from support.tones import CLASSES, write_tar

from jobs import _job, evaluate, infer, preprocess, report, train

RATE = 8000


def picture(seed: int, size: int = 64, **options: object) -> bytes:
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize((96, 96), Image.Resampling.BICUBIC)
    data = io.BytesIO()
    image.resize((size, size)).save(data, "JPEG" if options else "PNG", **options)
    return data.getvalue()


def sound(seed: int, volume: float = 0.5) -> bytes:
    chance = np.random.default_rng(seed)
    time = np.arange(int(0.3 * RATE)) / RATE
    tones = [np.sin(2 * np.pi * chance.uniform(200, 3500) * time) for _ in range(6)]
    steps = [np.repeat(chance.random(6) ** 2, len(time) // 6) for _ in tones]
    waveform = sum(tone * step for tone, step in zip(tones, steps, strict=True))
    data = io.BytesIO()
    soundfile.write(data, volume * waveform / np.abs(waveform).max(), RATE, format="WAV")
    return data.getvalue()


def text(seed: int) -> str:
    words = np.random.default_rng(seed).integers(0, 5000, 14)
    return " ".join(f"word{number}" for number in words)


def sample(seed: int) -> dict[str, bytes]:
    label = CLASSES[seed % 3]
    own = {"png": picture(seed), "wav": sound(seed), "txt": f"{label}: {text(seed)}".encode()}
    return {**own, "cls": label.encode(), "json": b"{}"}


def near_copy(seed: int) -> dict[str, bytes]:
    """Another size, quality, volume and punctuation."""
    label = CLASSES[seed % 3]
    own = {"jpg": picture(seed, 80, quality=70), "wav": sound(seed, 0.2)}
    return {
        **own,
        "txt": f"{label.upper()} - {text(seed)}!".encode(),
        "cls": label.encode(),
        "json": b"{}",
    }


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Training: 40 samples, 5 exact copies, 6 near copies, and 4 that test has. Test: 12. Val: 9."""
    folder = tmp_path / "data"
    first = {f"a{seed}": sample(seed) for seed in range(40)}
    write_tar(folder / "x-train-0.tar", first)
    second = {f"copy{seed}": sample(seed) for seed in range(5)}
    second |= {f"near{seed}": near_copy(seed) for seed in range(10, 16)}
    second |= {"leak100": sample(100), "leak101": sample(101)}
    second |= {f"leak{seed}": near_copy(seed) for seed in (102, 103)}
    write_tar(folder / "x-train-1.tar", second)
    write_tar(folder / "x-test-0.tar", {f"t{seed}": sample(seed) for seed in range(100, 112)})
    write_tar(folder / "x-val-0.tar", {f"v{seed}": sample(seed) for seed in range(200, 209)})
    return folder


def run(
    job: _job.Job, config: Path, data: Path, capsys: pytest.CaptureFixture[str], *overrides: str
) -> dict[str, object]:
    inputs = [f"input.{split}={data}/x-{split}-*.tar" for split in ("train", "val", "test")]
    given = [str(config), *inputs, "modalities.image.size=32", "input.max_bad_fraction=1", "--json"]
    capsys.readouterr()
    assert _job.main(job, [*given, *overrides]) == 0
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    return found


def left_out(summary: dict[str, object]) -> int:
    return int(str(summary["samples_filtered"])) + int(str(summary["samples_quarantined"]))


def keys(folder: Path) -> set[str]:
    return {
        key
        for file in folder.glob("part-*.parquet")
        for key in pq.read_table(file)["key"].to_pylist()
    }


ORIGINALS = {f"a{seed}" for seed in range(40)} | {f"leak{seed}" for seed in range(100, 104)}


def test_preprocess_keeps_each_sample_once(
    tone_config: Path, tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exact = run(
        preprocess.JOB, tone_config, data, capsys, "cleaning.duplicates=exact",
        f"preprocess.output={tmp_path}/exact",
    )  # fmt: skip
    near = {f"near{seed}" for seed in range(10, 16)}
    assert keys(tmp_path / "exact") == ORIGINALS | near
    assert exact["metrics"] == {"duplicates": 5}
    asked = ("cleaning.duplicates=near", f"preprocess.output={tmp_path}/near")
    found = run(preprocess.JOB, tone_config, data, capsys, *asked)
    assert keys(tmp_path / "near") == ORIGINALS
    assert found["metrics"] == {"duplicates": 5, "near_duplicates": 6}
    assert (found["samples_read"], found["samples_written"], left_out(found)) == (55, 44, 11)
    again = run(preprocess.JOB, tone_config, data, capsys, *asked)
    assert again["parts_done"] == 0, "run again, nothing is done again"
    code = _job.main(
        preprocess.JOB,
        [
            str(tone_config),
            f"input.train={data}/x-train-*.tar",
            "modalities.image.size=32",
            asked[1],
        ],
    )
    assert code == 2, "without cleaning, the output would have other rows"
    assert "cleaning" in capsys.readouterr().err


def test_what_is_written_stays_the_one_that_is_kept(
    tone_config: Path, tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A shard that comes later in time and earlier by name."""
    asked = ("cleaning.duplicates=near", f"preprocess.output={tmp_path}/out")
    only = f"preprocess.input={data}/x-train-1.tar"
    run(preprocess.JOB, tone_config, data, capsys, *asked, only)
    before = keys(tmp_path / "out")
    assert len(before) == 15
    grown = f"preprocess.input={data}/x-train-*.tar"
    found = run(preprocess.JOB, tone_config, data, capsys, *asked, grown)
    assert (found["parts_done"], found["parts_skipped"]) == (1, 1)
    gone = {f"a{seed}" for seed in (*range(5), *range(10, 16))}
    assert keys(tmp_path / "out") == before | (ORIGINALS - gone)
    signatures = list((tmp_path / "run" / "signatures").glob("*/*.arrow"))
    assert len(signatures) == 2, "each part was signed once"


def test_training_goes_without_what_test_has(
    tone_config: Path, tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ("train.epochs=1", "train.batch_size=8", "modalities.image.filter.min_side=16")
    found = run(train.JOB, tone_config, data, capsys, *asked, "cleaning.leakage=report")
    metrics = found["metrics"]
    assert isinstance(metrics, dict)
    assert metrics["leaks"] == 4
    assert found["samples_written"] == 55 + 9, "only counted"
    found = run(
        train.JOB, tone_config, data, capsys, *asked, "train.overwrite=true", "cleaning.leakage=drop",
        "cleaning.duplicates=near", "train.cache=disk",
    )  # fmt: skip
    metrics = found["metrics"]
    assert isinstance(metrics, dict)
    assert (metrics["leaks"], metrics["duplicates"], metrics["near_duplicates"]) == (4, 5, 6)
    assert (found["samples_written"], left_out(found)) == (40 + 9, 15)
    cleaning = found["report"]["cleaning"]  # type: ignore[index]
    leaks = [each for each in cleaning["examples"] if each["reason"] == "filtered_leak"]
    assert {(each["key"], each["of_key"]) for each in leaks} == {
        (f"leak{seed}", f"t{seed}") for seed in range(100, 104)
    }

    # A model whose training was filtered predicts what it left out, unless the job filters too.
    run(infer.JOB, tone_config, data, capsys, f"infer.output={tmp_path}/all")
    assert len(keys(tmp_path / "all")) == 12
    judged = run(evaluate.JOB, tone_config, data, capsys, "cleaning.duplicates=near")
    assert judged["samples_written"] == 12
    small = ("modalities.image.filter.min_side=65", f"infer.output={tmp_path}/none")
    found = run(infer.JOB, tone_config, data, capsys, *small)
    assert (found["samples_written"], left_out(found)) == (0, 12)

    run(
        report.JOB, tone_config, data, capsys, "cleaning.leakage=drop", "cleaning.duplicates=near",
        "modalities.image.filter.min_side=16",
    )  # fmt: skip
    page = (tmp_path / "run" / "report.html").read_text("utf-8")
    assert 'id="cleaning"' in page
    assert "filtered_leak" in page
    assert "min_side 16" in page
