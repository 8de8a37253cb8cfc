"""Nights: what is done again, what is told, and how a night ends."""

import datetime
import json
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from support.tones import make_samples, write_tar
from test_jobs import rows, run

from jobs import infer, nightly, train
from pipeline.engine.plans import nightly as engine
from pipeline.errors import SinkError
from pipeline.nightly import NightlyConfig
from pipeline.nightly.clock import time_zone
from pipeline.nightly.ledger import Ledger, Night
from pipeline.nightly.schedule import _Runner


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory, tone_data: Path) -> Path:
    """A small model."""
    folder = tmp_path_factory.mktemp("model")
    path = folder / "tones.yaml"
    path.write_text(
        f"""
run: {folder}/run
input: {{train: "{tone_data}/tone-train-*.tar", val: "{tone_data}/tone-val-*.tar"}}
modalities:
  image: {{fields: [png, jpg], size: 16}}
objective: {{kind: classify, label: cls, width: 32, fusion: {{kind: concat}}}}
train: {{epochs: 1, batch_size: 32, seed: 1}}
cluster: {{num_cpus: 1, executor: here}}
""",
        encoding="utf-8",
    )
    assert run(train.JOB, path) == 0
    return folder / "run" / "model"


@pytest.fixture
def config(tmp_path: Path, bundle: Path) -> Path:
    """A night over a folder of shards."""
    path = tmp_path / "night.yaml"
    path.write_text(
        f"""
run: {tmp_path}/run
modalities:
  image: {{fields: [png, jpg], size: 16}}
infer: {{input: "{tmp_path}/in/*.tar", model: "{bundle}"}}
input: {{max_bad_fraction: 0.5}}
nightly: {{retry_seconds: 0.1}}
cluster: {{num_cpus: 1, executor: here}}
""",
        encoding="utf-8",
    )
    return path


def shard(folder: Path, name: str, seed: int, count: int = 6) -> Path:
    path = folder / "in" / f"{name}.tar"
    write_tar(path, make_samples(count, seed=seed))
    return path


def night(config: Path, date: str, *words: str) -> tuple[int, Night | None]:
    code = nightly.main([str(config), *words, "--date", date])
    return code, Ledger(str(config.parent / "run")).read(date)


def as_a_fresh_job_has_it(config: Path, name: str) -> list[dict]:
    """The rows of plain inference over what is there."""
    output = config.parent / name
    assert run(infer.JOB, config, f"infer.output={output}") == 0
    return rows(output)


def test_a_night_does_what_is_new_or_changed_and_forgets_what_is_gone(
    config: Path, tmp_path: Path
) -> None:
    for index, name in enumerate("abc"):
        shard(tmp_path, name, index)
    code, first = night(config, "2026-11-01")
    assert (code, first.status, len(first.attempts)) == (0, "done", 1)
    assert first.shards == {"new": 3, "changed": 0, "deleted": 0, "unchanged": 0}
    assert first.samples["read"] == 18
    assert first.drift == {}, "there is nothing to compare it with"

    gone = tmp_path / "gone.tar"
    shutil.move(tmp_path / "in" / "a.tar", gone)
    shard(tmp_path, "b", 7, count=8)
    shard(tmp_path, "d", 8)
    code, second = night(config, "2026-11-02")
    assert (code, second.status) == (0, "done")
    assert second.shards == {"new": 1, "changed": 1, "deleted": 1, "unchanged": 1}
    assert second.samples["read"] == 14
    assert second.profile["samples"] == second.samples["written"]
    assert set(second.drift) == {"prediction_psi", "score_psi", "modality_psi", "embedding_shift"}
    home = tmp_path / "run" / "embeddings"
    assert rows(home) == as_a_fresh_job_has_it(config, "fresh")

    code, third = night(config, "2026-11-03")
    assert third.samples["read"] == 0, "a night without news decodes nothing"
    assert third.shards["unchanged"] == 3

    shutil.move(gone, tmp_path / "in" / "a.tar")  # as it was, to the nanosecond
    code, fourth = night(config, "2026-11-04")
    assert (code, fourth.samples["read"]) == (0, 6)
    assert rows(home) == as_a_fresh_job_has_it(config, "again")
    page = (tmp_path / "run" / "nightly" / "2026-11-04.md").read_text()
    assert page.startswith("# 2026-11-04: done\n")


def test_rows_of_deleted_shards_may_stay(config: Path, tmp_path: Path) -> None:
    shard(tmp_path, "a", 1)
    shard(tmp_path, "b", 2)
    assert night(config, "2026-11-01")[0] == 0
    before = rows(tmp_path / "run" / "embeddings")
    (tmp_path / "in" / "a.tar").unlink()
    for date in ("2026-11-02", "2026-11-03"):
        assert night(config, date, "nightly.deleted=keep")[0] == 0
        assert rows(tmp_path / "run" / "embeddings") == before
    assert night(config, "2026-11-04")[0] == 0
    assert {row["shard"] for row in rows(tmp_path / "run" / "embeddings")} == {"b.tar"}


def test_a_night_stops_at_its_deadline_and_the_next_goes_on(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for index, name in enumerate("abcdef"):
        shard(tmp_path, name, index)
    assert night(config, "2026-11-01")[0] == 0
    before = rows(tmp_path / "run" / "embeddings")
    for index, name in enumerate("abcdef"):
        shard(tmp_path, name, 20 + index, count=7)
    with monkeypatch.context() as patch:
        patch.setattr(NightlyConfig, "ends", lambda _, now: now)
        code, stopped = night(config, "2026-11-02")
    assert (code, stopped.status) == (0, "stopped")
    assert stopped.parts["left"] > 0
    found = rows(tmp_path / "run" / "embeddings")
    new = [row for row in found if row not in before]
    assert new, "what was done by then is seen"
    shards = {row["shard"] for row in new}
    assert [row for row in found if row["shard"] not in shards] == [
        row for row in before if row["shard"] not in shards
    ], "of the others the old rows are"
    code, last = night(config, "2026-11-03")
    assert (code, last.status) == (0, "done")
    assert last.samples["read"] <= 7 * stopped.parts["left"], "and nothing is done twice"
    assert rows(tmp_path / "run" / "embeddings") == as_a_fresh_job_has_it(config, "fresh")


def test_a_deadline_is_the_next_time_that_the_clock_shows_it() -> None:
    now = datetime.datetime(2026, 11, 21, 23, 0, tzinfo=datetime.UTC)
    ends = NightlyConfig(deadline="05:30").ends(now)
    assert ends == datetime.datetime(2026, 11, 22, 5, 30, tzinfo=datetime.UTC)
    assert NightlyConfig(deadline="23:30").ends(now).day == 21
    assert NightlyConfig().ends(now) is None


def test_a_failing_night_is_tried_again_and_then_told(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shard(tmp_path, "a", 1)
    failures = iter([True, True, False, True, True, True])
    build = engine.inference_job

    def flaky(*given: object) -> object:
        if next(failures):
            raise SinkError("no space left", where="out", fix="make room")
        return build(*given)

    monkeypatch.setattr(engine, "inference_job", flaky)
    script = tmp_path / "hook.py"
    script.write_text(
        f"import pathlib, sys; pathlib.Path({str(tmp_path / 'told')!r}).write_text(sys.argv[1])"
    )
    hook = f"nightly.on_failure='{sys.executable} {script}'"
    code, good = night(config, "2026-11-01", hook)
    assert (code, good.status, len(good.attempts)) == (0, "done", 3)
    assert not (tmp_path / "told").exists()
    code, bad = night(config, "2026-11-02", hook)
    assert (code, bad.status, len(bad.attempts)) == (1, "failed", 3)
    assert bad.error == "no space left | out | make room"
    page = Path((tmp_path / "told").read_text())
    assert "no space left" in page.read_text()


def test_what_retrying_cannot_help_is_not_tried_again(config: Path, tmp_path: Path) -> None:
    shard(tmp_path, "a", 1)
    code, page = night(config, "2026-11-01", "infer.model=nowhere")
    assert (code, len(page.attempts), page.status) == (2, 1, "failed")
    assert night(config, "2026-11-01", "sink.kind=none")[0] == 2
    assert nightly.main([str(config), "--date", "yesterday"]) == 2


def test_a_threshold_that_is_crossed_is_exit_code_4(config: Path, tmp_path: Path) -> None:
    shard(tmp_path, "a", 1, count=12)
    assert night(config, "2026-11-01", "nightly.alerts.max_embedding_shift=0.0001")[0] == 0
    shard(tmp_path, "b", 2, count=12)
    code, page = night(config, "2026-11-02", "nightly.alerts.max_embedding_shift=0.0001")
    assert (code, page.status) == (4, "done")
    assert page.alerts[0].startswith("embedding_shift is ")
    code, page = night(config, "2026-11-03", "nightly.alerts.min_samples=1")
    assert (code, page.alerts) == (4, ["0 samples were read, fewer than 1"])


def test_a_date_that_is_run_again_keeps_what_it_did(config: Path, tmp_path: Path) -> None:
    shard(tmp_path, "a", 1)
    first = night(config, "2026-11-01")[1]
    shard(tmp_path, "b", 2)
    second = night(config, "2026-11-01")[1]
    assert first.samples["read"] < second.samples["read"] == 12
    assert second.profile["samples"] == second.samples["written"]
    assert (second.parts, len(second.attempts)) == ({"done": 2, "left": 0}, 2)
    assert second.seconds > first.seconds
    code, failed = night(config, "2026-11-01", f"infer.model={tmp_path}/none")
    assert (code, failed.status) == (2, "failed")
    assert failed.profile == second.profile, "who fails takes nothing away"


def test_each_date_is_tried_by_itself_and_tonight_always_runs(
    config: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Of the two dates before tonight one has no folder, and one stopped at its deadline."""
    for index in range(6):
        write_tar(tmp_path / "in" / "2026-11-02" / f"{index}.tar", make_samples(5, seed=index))
    write_tar(tmp_path / "in" / "2026-11-03" / "x.tar", make_samples(4, seed=9))
    words = [
        str(config),
        f"infer.input={tmp_path}/in/{{date}}/*.tar",
        f"infer.output={tmp_path}/out/date={{date}}",
    ]
    assert nightly.main([*words, "--date", "2026-11-02", "--until", "2026-11-02T05:30"]) == 0
    ledger = Ledger(str(tmp_path / "run"))
    stopped = ledger.read("2026-11-02")
    assert stopped.status == "stopped"
    assert stopped.parts["left"] > 0
    capfd.readouterr()

    code = nightly.main([*words, "--date", "2026-11-03", "--catch-up", "2", "--json"])
    assert code == 2, "the worst of all"
    answer = json.loads(capfd.readouterr().out)
    assert answer["outputs"]["embeddings"].endswith("date=2026-11-03"), "tonight's alone"
    missing, continued, tonight = (ledger.read(f"2026-11-0{day}") for day in (1, 2, 3))
    assert (missing.status, missing.exit_code) == ("failed", 2)
    assert f"no shard matches {tmp_path}/in/2026-11-01/*.tar" in missing.error
    assert (continued.status, continued.parts["left"]) == ("done", 0)
    assert (tonight.status, tonight.samples["read"]) == ("done", 4)
    assert continued.samples["read"] == 30
    assert [each.status for each in continued.attempts] == ["stopped", "done"]
    assert sum(each.samples["read"] for each in continued.attempts) == 30
    assert sum(each.parts["done"] for each in continued.attempts) == 6
    assert all(each.began <= each.ended for each in continued.attempts)
    for page, day in ((continued, 2), (tonight, 3)):
        written = rows(tmp_path / "out" / f"date=2026-11-0{day}")
        assert len(written) == page.samples["written"] > 0


def test_a_schedule_ends_its_night_and_itself_when_asked(config: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "jobs.nightly", str(config), "serve", "--cron", "0 2 * * *"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as served:
        for line in served.stderr:
            if "serving" in line:
                break
        served.send_signal(signal.SIGTERM)
        assert served.wait(30) == 0

    marker = tmp_path / "began"
    waiting = f"import pathlib, sys, time; pathlib.Path({str(marker)!r}).write_text(sys.argv[2]); time.sleep(60)"
    runner = _Runner([sys.executable, "-c", waiting], time_zone("UTC"))
    thread = threading.Thread(target=runner)
    thread.start()
    while not marker.exists() or not marker.read_text():
        time.sleep(0.05)
    assert datetime.date.fromisoformat(marker.read_text())
    runner.stop()
    thread.join(10)
    assert not thread.is_alive()


def test_serving_and_emitting_refuse_what_they_do_not_know(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert nightly.main([str(config), "serve", "--cron", "never"]) == 2
    assert nightly.main([str(config), "serve", "--timezone", "Mars/Olympus"]) == 2
    assert nightly.main([str(config), "emit", "launchd"]) == 2
    assert nightly.main([str(config), "emit"]) == 2
    assert "emit systemd or emit cron or emit kubernetes" in capsys.readouterr().err
    for kind, count in (("systemd", 2), ("cron", 1), ("kubernetes", 1)):
        assert nightly.main([str(config), "emit", kind, "--to", str(tmp_path / kind)]) == 0
        assert len(list((tmp_path / kind).iterdir())) == count
        assert len(capsys.readouterr().out.splitlines()) == count


def test_the_answer_of_a_night_is_its_summary(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shard(tmp_path, "a", 1)
    capsys.readouterr()
    assert nightly.main([str(config), "--date", "2026-11-01", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["job"], answer["samples_read"], answer["parts_done"]) == ("nightly", 6, 1)
    assert answer["outputs"]["night"].endswith("nightly/2026-11-01.md")
    assert answer["fingerprint"]
