"""Whole trainings in this process, without Ray: resumed, from every cache, stopped early, and counted."""

import functools
import gzip
import itertools
import json
import logging
from pathlib import Path

import pyarrow as pa
import pytest
import torch

from jobs import _job
from jobs.train import JOB as train_job
from pipeline.config import load
from pipeline.engine.executors.workplace import Workplace
from pipeline.engine.train import fit
from pipeline.engine.train.kept import KeptTables
from pipeline.engine.train.record import finished
from pipeline.errors import ConfigError, RunError
from pipeline.models.bundle import Bundle
from pipeline.models.record import CHECKPOINTS, LAST, kept_epoch
from pipeline.runs import Summary
from pipeline.sinks.quarantine import set_bad_aside
from pipeline.training.callbacks.time_limit import TimeLimit


def train(config: Path, run: Path, *settings: str) -> tuple[Bundle, list[dict[str, float]]]:
    bundle = fit.train(load(config, [f"run={run}", *settings]), Summary("train"))
    lines = (run / "metrics.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    return bundle, [{n: row[n] for n in row if "second" not in n} for row in rows]


def test_a_resumed_training_is_the_uninterrupted_one(tone_config: Path, tmp_path: Path) -> None:
    whole, history = train(tone_config, tmp_path / "whole", "train.epochs=4")
    stop_after(tone_config, tmp_path / "parts", 2)
    resumed, rows = train(tone_config, tmp_path / "parts", "train.epochs=4", "train.resume=true")
    assert rows == history
    assert resumed.weights == whole.weights, "to the last bit"


def stop_after(config: Path, run: Path, epochs: int) -> None:
    """A training of four epochs that is interrupted after some."""
    from pipeline.training.callbacks.checkpoint import Checkpoint

    written = Checkpoint.epoch_ended

    def interrupted(self, training, row) -> None:
        written(self, training, row)
        if row["epoch"] == epochs:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoint, "epoch_ended", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train(config, run, "train.epochs=4")


def test_the_cache_changes_nothing(tone_config: Path, tmp_path: Path) -> None:
    curves = [
        train(tone_config, tmp_path / kind, "train.epochs=2", f"train.cache={kind}")[1]
        for kind in ("none", "memory", "disk")
    ]
    assert curves[0] == curves[1] == curves[2]
    assert (tmp_path / "disk" / "cache").is_dir()


def test_a_lost_row_ends_the_training(
    tone_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of all, behind the ledger of the decoders."""

    def lossy(table: pa.Table, output: str) -> pa.Table:
        good = set_bad_aside(table, output)
        return good.slice("train-000001" in good["shard"][0].as_py())

    monkeypatch.setattr("pipeline.engine.train.decoding.set_bad_aside", lossy)
    with pytest.raises(RunError, match="were read and"):
        train(tone_config, tmp_path / "run", "train.epochs=1")
    assert not (tmp_path / "run" / "model" / "bundle.json").exists()


def test_it_stops_early_keeps_the_best_epoch_and_says_so(tone_config: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    stopping = ("train.epochs=30", "train.early_stopping={patience: 2, min_delta: 0.01}")
    bundle, rows = train(tone_config, run, *stopping)
    scores = [row["val_accuracy"] for row in rows]
    assert len(rows) < 30
    best = float("-inf")
    since = []
    for score in scores:
        since.append(0 if score > best + 0.01 else since[-1] + 1)
        best = score if score > best + 0.01 else best
    assert since[-1] == 2
    assert max(since[:-1]) < 2
    assert all(name.startswith("val_") for name in bundle.metrics)
    assert not any("seconds" in name for name in bundle.metrics), "metrics are of the model"
    kept = bundle.training["kept"]
    assert scores[kept["epoch"] - 1] == max(scores) == bundle.metrics["val_accuracy"]
    assert (kept["of"], kept["stopped_before"]) == (len(rows), 30)
    assert train(tone_config, run, *stopping, "train.resume=true")[1] == rows, "it stays stopped"


def test_a_training_in_pieces_of_time_is_the_whole_one(
    tone_config: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its clock is one that counts steps."""
    whole, history = train(tone_config, tmp_path / "whole")
    steps = itertools.count()
    limited = functools.partial(TimeLimit, now=lambda: float(next(steps)))
    monkeypatch.setattr("pipeline.engine.train.worker.TimeLimit", limited)
    run = tmp_path / "parts"
    with pytest.raises(RunError, match="no model yet: the time of train.max_seconds was over"):
        train(tone_config, run, "train.max_seconds=1")
    assert not (run / "model").exists()
    bundle, rows = train(tone_config, run, "train.max_seconds=6", "train.resume=true")
    assert rows == history[: len(rows)]
    assert 1 <= len(rows) < 3
    assert "since the time of train.max_seconds was over" in kept_epoch(bundle.training["kept"])
    same = load(tone_config, [f"run={run}"])
    with caplog.at_level(logging.WARNING):
        assert finished(same) is not None
    assert f"the model is that of {len(rows)} of 3 epochs" in caplog.text
    bundle, rows = train(tone_config, run, "train.resume=true")
    assert rows == history
    assert bundle.weights == whole.weights
    assert "since" not in bundle.training["kept"]
    assert finished(load(tone_config, [f"run={run}", "train.resume=true"])) is not None


def test_a_profile_is_written(tone_config: Path, tmp_path: Path) -> None:
    assert _job.main(train_job, [str(tone_config), "train.epochs=1", "--profile"]) == 0
    folder = tmp_path / "run" / "profile"
    trace = json.loads(gzip.decompress((folder / "steps.json.gz").read_bytes()))
    names = {event.get("name", "") for event in trace["traceEvents"]}
    assert any("backward" in name.lower() for name in names)
    page = (folder / "train.html").read_text()
    assert "_epoch" in page, "the loop is among what was seen"


def test_the_log_says_where_the_time_went(
    tone_config: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        train(tone_config, tmp_path / "run", "train.epochs=2")
    assert "Of the training's time, " in caplog.text


def test_curves_are_there_for_tensorboard(tone_config: Path, tmp_path: Path) -> None:
    _, rows = train(tone_config, tmp_path / "run", "train.epochs=2")
    curves = read_curves(tmp_path / "run" / "tensorboard")
    for tag, name in (("train/loss", "train_loss"), ("val/accuracy", "val_accuracy")):
        assert curves[tag] == pytest.approx({row["epoch"]: row[name] for row in rows})
    train(tone_config, tmp_path / "run", "train.epochs=1", "train.overwrite=true", "train.seed=5")
    assert set(read_curves(tmp_path / "run" / "tensorboard")["train/loss"]) == {1}, (
        "of this training"
    )


def read_curves(folder: Path) -> dict[str, dict[int, float]]:
    """Tag -> step -> value, from TensorBoard's files: records of a length, its checksum, the data, and its checksum."""
    from tensorboardX.proto.event_pb2 import Event

    curves: dict[str, dict[int, float]] = {}
    for file in folder.iterdir():
        data, place = file.read_bytes(), 0
        while place < len(data):
            size = int.from_bytes(data[place : place + 8], "little")
            event = Event.FromString(data[place + 12 : place + 12 + size])
            for value in event.summary.value:
                curves.setdefault(value.tag, {})[event.step] = value.simple_value
            place += 16 + size
    return curves


def test_a_checkpoint_of_an_earlier_version_is_refused_in_words(
    tone_config: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    stop_after(tone_config, run, 1)
    path = run / CHECKPOINTS / LAST
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["optimizer"] = checkpoint.pop("optimizers")[0]
    torch.save(checkpoint, path)
    words = "the last checkpoint does not fit: it has no 'optimizers', as those of earlier versions"
    with pytest.raises(ConfigError, match=words) as caught:
        train(tone_config, run, "train.epochs=4", "train.resume=true")
    assert "without train.resume" in str(caught.value)


def test_rare_classes_are_shown_more_often_and_counted_once(
    tone_config: Path, tmp_path: Path
) -> None:
    plain = train(tone_config, tmp_path / "plain", "train.epochs=2")[1]
    config = "objective.balanced_sampling=1.0"  # three classes, a third of the samples each
    bundle, rows = train(tone_config, tmp_path / "repeated", "train.epochs=2", config)
    assert bundle.learned["counts"] is not None
    for row, other in zip(rows, plain, strict=True):
        assert row["rows_train"] == other["rows_train"], "different samples"
        assert [type(row[name]) for name in ("rows_train", "rows_val")] == [int, int]
    assert rows[0]["train_loss"] != plain[0]["train_loss"]


def test_what_memory_does_not_hold_lies_in_files(
    tone_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = train(tone_config, tmp_path / "memory", "train.epochs=2")[1]
    monkeypatch.setattr(fit, "MEMORY_SHARE", 0)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    seen = list[str]()

    def spilled(kept: KeptTables, table: pa.Table) -> pa.Table:
        result = write(kept, table)
        seen.extend(path.name for path in (tmp_path / "temporary").rglob("*.arrow"))
        return result

    write = KeptTables._spilled
    monkeypatch.setattr(KeptTables, "_spilled", spilled)
    assert train(tone_config, tmp_path / "files", "train.epochs=2")[1] == expected
    assert len(set(seen)) == 4, "every part"
    assert not list((tmp_path / "temporary").rglob("*.arrow"))


@pytest.mark.parametrize(
    ("words", "place"),
    [
        ((), "here"),
        (("cluster.workers=2",), "ray"),
        (("cluster.gpus_per_worker=1",), "ray"),
        (("cluster.executor=ray",), "ray"),
    ],
)
def test_little_training_of_one_worker_is_done_here(
    tone_config: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], place: str
) -> None:
    config = load(tone_config, ["cluster.executor=auto", *words])
    monkeypatch.setattr(Workplace, "_start_ray", lambda _: "ray")
    with Workplace(config.cluster) as workplace:
        executor = workplace.executor(4, config.cluster.workers)
        assert (executor == "ray") == (place == "ray")
