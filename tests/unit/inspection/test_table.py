"""The table of lint: what matters first, in lines that fit."""

from typing import Any

from pipeline.inspection.report import LintReport
from pipeline.inspection.table import MAX_ROWS, WIDTH, render


def spread(count: int, low: float, high: float) -> dict[str, float]:
    middle = (low + high) / 2
    names = {"min": low, "median": middle, "p95": high, "max": high}
    return {"count": count, "total": count * middle, **names}


def census(samples: int, **more: Any) -> dict[str, Any]:
    return {
        "shards": 2,
        "shards_damaged": 0,
        "samples": samples,
        "samples_bad": 0,
        "samples_noted": 0,
        "members": 3 * samples,
        "bytes": 5 << 30,
        "sample_bytes": spread(samples, 100, 90_000),
        "shard_samples": spread(2, samples // 2, samples // 2),
        "shard_bytes": spread(2, 1, 2),
        "modalities": {"image+text": samples},
        "lacking": {"image": 0, "text": 0},
        "fields": {"jpg": {"use": "image", "bytes": spread(samples, 1000, 2_000_000)}},
        "media": {
            "image": {
                "formats": {"jpeg": samples - 1, "png": 1},
                "width": spread(samples, 8, 1024),
            },
            "audio": {
                "formats": {"wav": samples},
                "seconds": spread(samples, 0.25, 12.5),
                "sample_rate_hz": {"8000": samples},
                "channels": {"2": samples, "1": 1},
            },
            "text": {"formats": {"text": samples}, "characters": spread(samples, 1, 4000)},
        },
        "labels": {},
        "unlabelled": {},
        "damage": {},
        "bad": {},
        "misnamed": {},
        "indexes": {},
        **more,
    }


def report(**more: Any) -> LintReport:
    train = census(2000, labels={f"class {i}": 1000 - i for i in range(300)})
    test = census(500, labels={"a": 5, "b": 5})
    tree = {
        "version": 1,
        "problems": [],
        "total": census(2500),
        "splits": {"train": train, "test": test},
        "duplicates": {"within_shards": 0, "across_shards": {}, "across_splits": {}},
        "estimate": None,
        **more,
    }
    read = LintReport.from_json(tree)
    assert read == LintReport.from_json(read.to_json()), "written and read again"
    return read


ESTIMATE = {
    "of": ["train"],
    "drawn": 64,
    "samples": 2000,
    "decode_cpu_seconds": 5000.0,
    "error_fraction": 0.04,
    "write_cpu_seconds": 12.0,
    "cores": 1,
    "wall_seconds": 0.034,
    "output_bytes": 3 << 40,
    "decoded_bytes": 999,
    "peak_memory_bytes": 2 << 30,
}


def test_all_of_it_fits_and_problems_come_first() -> None:
    problems = [
        {
            "level": level,
            "what": f"{level} " + "x" * 200,
            "count": 12_345,
            "examples": ["where " * 40],
        }
        for level in ["error", "warning", "note"] * 6
    ]
    text = render(report(problems=problems, estimate=ESTIMATE))
    lines = text.splitlines()
    assert max(map(len, lines)) <= WIDTH
    assert lines[0] == "lint: 2,500 samples in 2 shards, 5 GiB; none bad, no shard damaged"
    assert lines[2] == "PROBLEMS"
    assert lines[3].startswith(" !! 12,345 error xxx")
    assert f"and {len(problems) - MAX_ROWS} more in lint.json" in text
    titles = ("PROBLEMS", "SPLIT", "MODALITIES", "FIELD", "MEDIA", "LABELS", "PREPROCESS")
    assert [line.split()[0] for line in lines if line.startswith(titles)] == list(titles)


def test_numbers_a_person_reads() -> None:
    text = render(report(estimate=ESTIMATE))
    assert "No problems found." in text
    assert "83 min decoding (+-4%), 12 s writing; at best 0.034 s on 1 core, plus the start" in text
    assert "3 TiB of Parquet" in text
    assert "2,500 with 2 channels, 1 with 1 channel" in text
    assert "2,500 at 8000 Hz" in text
    assert ["image", "width", "8", "516", "1,024", "1,024"] in [
        line.split()[:6] for line in text.splitlines()
    ]
    assert "5 of each" in text
    labels = next(
        line for line in text.splitlines() if line.startswith("train ") and "class 0" in line
    )
    assert "..." in labels
    assert "class 299: 701" in labels, "the rarest is shown"


def test_nothing_at_all() -> None:
    empty = census(
        0,
        modalities={},
        lacking={"image": 0},
        fields={},
        media={},
        shard_samples={"count": 0, "total": 0},
        sample_bytes={"count": 0, "total": 0},
    )
    text = render(report(total=empty, splits={"train": empty}))
    assert "0 samples" in text
