"""A job over signed URLs: no page, table, file, error or log has what opens them."""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from support.tones import make_samples, write_tar
from support.web_server import WebFolder, serve

from jobs import _job, lint, nightly, preprocess, report
from pipeline.storage import retry
from pipeline.storage.retry import Backoff

SECRETS = ("hunter2pw", "SIGNATURE123", "SASSIG456", "ENVSECRET789")


@pytest.fixture
def web(tmp_path: Path) -> Iterator[WebFolder]:
    samples = make_samples(6, seed=1)
    samples["s0001"]["png"] = b"broken"
    write_tar(tmp_path / "web" / "a.tar", samples)
    with serve(tmp_path / "web") as served:
        yield served


@pytest.fixture
def config(web: WebFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MY_SECRET_KEY", "ENVSECRET789")
    monkeypatch.setattr(retry, "BACKOFF", Backoff(attempts=2, first_seconds=0.01))
    address = web.url.replace("://", "://user:hunter2pw@")
    url = f"{address}/a.tar?X-Amz-Signature=SIGNATURE123&sig=SASSIG456"
    tree = {
        "run": str(tmp_path / "run"),
        "input": {"train": url, "max_bad_fraction": 0.5},
        "modalities": {
            "image": {"fields": ["png"], "size": 8},
            "text": {"fields": ["txt"], "max_tokens": 8, "vocab_size": 300},
        },
    }
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump(tree))
    return path


def told(value: Any) -> Iterator[bytes]:
    """All texts of a table's rows, which a file has compressed."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from told(each)
    elif isinstance(value, bytes | str):
        yield value.encode() if isinstance(value, str) else value


def leaks(folder: Path) -> list[tuple[str, str]]:
    found = []
    for path in folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            if path.suffix == ".parquet":
                content += b" ".join(told(pq.read_table(path).to_pylist()))
                content += str(pq.read_schema(path).metadata).encode()
            found += [(path.name, secret) for secret in SECRETS if secret.encode() in content]
    return found


def test_nothing_that_is_written_or_said_has_what_opens_a_signed_url(
    config: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for job in (lint.JOB, preprocess.JOB, report.JOB):
        assert _job.main(job, [str(config), "--dry-run"]) == 0
        assert _job.main(job, [str(config), "--json"]) == 0
        assert _job.main(job, [str(config)]) == 0
    said = "".join(capfd.readouterr())
    assert "a.tar" in said
    assert "***" in said
    assert [secret for secret in SECRETS if secret in said] == []
    assert leaks(tmp_path / "run") == []
    assert len(list((tmp_path / "run").rglob("*.parquet"))) > 1


@pytest.mark.parametrize("status", [403, 404, 500])
def test_no_error_has_it(
    web: WebFolder, config: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], status: int
) -> None:
    web.statuses |= dict.fromkeys(range(1000), status)
    assert _job.main(lint.JOB, [str(config), "--json"]) != 0
    missing = yaml.safe_load(config.read_text())["input"]["train"].replace("a.tar", "b.tar")
    assert _job.main(lint.JOB, [str(config), f"input.train={missing}"]) != 0
    assert (
        nightly.main(
            [str(config), f"infer.input={missing}", "infer.model=timm:x", "nightly.retries=0"]
        )
        != 0
    )
    said = "".join(capfd.readouterr())
    assert "***" in said
    assert [secret for secret in SECRETS if secret in said] == []
    assert leaks(tmp_path / "run") == []


def test_an_unexpected_error_has_it_nowhere(
    config: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The log has the whole traceback of a bug, but for this."""
    signed = yaml.safe_load(config.read_text())["input"]["train"]
    header = base64.b64encode(b"user:hunter2pw").decode()

    def fail(*_: object) -> None:
        raise ValueError(f"{signed} with Authorization: Basic {header}")

    monkeypatch.setattr("pipeline.engine.lint.plan.lint", fail)
    assert _job.main(lint.JOB, [str(config)]) == 1
    said = "".join(capfd.readouterr())
    assert "Traceback" in said
    assert [secret for secret in (*SECRETS, header) if secret in said] == []
