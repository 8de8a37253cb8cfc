"""What jobs.submit says without a cluster: its errors, and the answer of a job set apart from its log."""

import json
import os

import pytest
from support.ray_cluster import PROJECT

from jobs import submit


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["trian", "jobs/configs/avmnist.yaml"], 2, "there is no job trian"),
        (["train", "no-such.yaml", "--address", "http://127.0.0.1:9"], 2, "no-such.yaml"),
        (["train", "jobs/configs/avmnist.yaml"], 2, "no cluster to hand the job to"),
        (
            ["train", "jobs/configs/avmnist.yaml", "--address", "http://127.0.0.1:9"],
            1,
            "127.0.0.1:9",
        ),
    ],
)
def test_an_error_is_one_line(
    arguments: list[str],
    code: int,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(PROJECT)
    for name in list(os.environ):
        if name.startswith("RAY_"):
            monkeypatch.delenv(name)
    assert submit.main(arguments) == code
    told = capsys.readouterr()
    assert words in told.err
    assert told.out == ""
    assert len(told.err.splitlines()) == 1


def test_json_is_set_apart_from_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    output = submit._Output(as_json=True)
    for piece in ("start\n{not json}\nmo", 're\n{"job": "train",\n  "a": {"b": 1}\n}', "\nbye\n"):
        output.write(piece)
    output.close()
    shown = capsys.readouterr()
    assert json.loads(shown.out) == {"job": "train", "a": {"b": 1}}
    assert shown.err == "start\n{not json}\nmore\nbye\n"
