"""Numbers of epochs in MLflow: its own client, and its own store of files in the place of a server."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from test_loop import Share, Small

from pipeline.errors import ConfigError
from pipeline.training.callbacks.mlflow import MlflowCurves, require_mlflow
from pipeline.training.loop import Training
from pipeline.training.recipe import Recipe

SETTINGS = {"train": {"epochs": 2, "early_stopping": {"patience": 3}}, "cluster": {"workers": 1}}


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    pytest.importorskip("mlflow", reason="mlflow-skinny is not installed")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"file:{tmp_path}/server")
    return f"file:{tmp_path}/server"


def train(run: Path, epochs: int, before: Training | None = None) -> Training:
    curves = MlflowCurves(str(run), SETTINGS)
    training = Training(Small(), Share(), Recipe(epochs, learning_rate=1e-2), callbacks=[curves])
    if before is not None:
        training.state.load(before.state.snapshot())
    training.run()
    return training


def test_a_run_has_its_settings_and_numbers_and_goes_on(server: str, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    first = train(tmp_path / "speech", 2)
    second = train(tmp_path / "speech", 3, first)
    client = MlflowClient(server)
    experiment = client.get_experiment_by_name("multimodal")
    [run] = client.search_runs([experiment.experiment_id])
    assert run.info.run_name == "speech"
    assert run.info.status == "FINISHED"
    assert run.data.params == {
        "train.epochs": "2",
        "train.early_stopping.patience": "3",
        "cluster.workers": "1",
    }
    sent = client.get_metric_history(run.info.run_id, "train_error")
    assert {m.step: m.value for m in sent} == {
        row["epoch"]: row["train_error"] for row in second.state.history
    }
    train(tmp_path / "speech", 1)
    assert len(client.search_runs([experiment.experiment_id])) == 2, "begun anew"
    assert json.loads((tmp_path / "speech" / "mlflow.json").read_text())["run_id"]


def test_a_server_that_is_gone_ends_no_training(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")  # the port that discards
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with caplog.at_level(logging.WARNING):
        training = train(tmp_path / "run", 2)
    assert len(training.state.history) == 2
    assert caplog.text.count("MLflow gets no more numbers of this training") == 1


def test_it_is_refused_without_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow", reason="mlflow-skinny is not installed")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(ConfigError, match="MLFLOW_TRACKING_URI"):
        require_mlflow()
