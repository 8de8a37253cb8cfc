"""The numbers of epochs on an MLflow server."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pipeline import storage
from pipeline.errors import ConfigError
from pipeline.safe_text.redaction import redact
from pipeline.training.callbacks.base import Callback

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from pipeline.training.loop import Training

logger = logging.getLogger(__name__)

NOTED = "mlflow.json"  # in the run folder: which run of the server this one is
EXPERIMENT = "multimodal"
SERVER, NAME = "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"  # variables of the environment
LONGEST = 500  # characters of a value


def require_mlflow() -> None:
    """Checks that numbers can go to MLflow.

    Raises:
        ConfigError: The package is not installed, or no server is named.
    """
    try:
        import mlflow  # noqa: F401
    except ImportError:
        raise ConfigError(
            "MLflow is not installed",
            where="train.track",
            fix="pip install 'multimodal-pipeline[mlflow]', or leave mlflow out of train.track",
        ) from None
    if not os.environ.get(SERVER):
        raise ConfigError(
            "no MLflow server is named",
            where="train.track",
            fix=f"set {SERVER} to its address, or leave mlflow out of train.track",
        )


class MlflowCurves(Callback):
    """Sends every number of every epoch to the MLflow server of ``MLFLOW_TRACKING_URI``.

    A server that cannot be reached is told in the log, and ends no training; what it missed stays in metrics.jsonl. A
    training that goes on adds to the run of the server that it began. MLflow's own reports of use are turned off.

    Args:
        run: The run folder, whose name the server's run has.
        settings: Shown beside the curves; nested, ready for JSON.
    """

    def __init__(self, run: str, settings: Mapping[str, Any]) -> None:
        self.run, self.settings = run, settings
        self._client: MlflowClient | None = None
        self._id = ""

    def begin(self, training: Training) -> None:
        """Finds or begins the server's run."""
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        from mlflow import MlflowClient

        client = MlflowClient(os.environ[SERVER])
        self._client = client
        with self._losses_told():
            self._id = self._begun(client) if training.state.history else self._new(client)

    def epoch_ended(self, training: Training, row: dict[str, float]) -> None:
        """Sends an epoch's numbers."""
        if self._client is None:
            return
        from mlflow.entities import Metric

        step = int(row["epoch"])
        metrics = [Metric(name, value, 0, step) for name, value in row.items() if name != "epoch"]
        with self._losses_told():
            self._client.log_batch(self._id, metrics=metrics)

    def end(self, training: Training) -> None:
        """Says that the training has ended."""
        if self._client is not None:
            with self._losses_told():
                self._client.set_terminated(self._id)

    def _begun(self, client: MlflowClient) -> str:
        """The server's run that this training began; a new one where it began none."""
        url = storage.join(self.run, NOTED)
        if storage.exists(url):
            return str(json.loads(storage.read_bytes(url))["run_id"])
        return self._new(client)

    def _new(self, client: MlflowClient) -> str:
        from mlflow.entities import Param

        name = os.environ.get(NAME, EXPERIMENT)
        found = client.get_experiment_by_name(name)
        experiment = found.experiment_id if found else client.create_experiment(name)
        began = client.create_run(
            experiment, run_name=redact(self.run.rstrip("/").rpartition("/")[2])
        )
        params = [Param(path, str(value)[:LONGEST]) for path, value in flat(self.settings)]
        for first in range(0, len(params), 100):  # as many as a server takes at once
            client.log_batch(began.info.run_id, params=params[first : first + 100])
        note = json.dumps({"run_id": began.info.run_id}).encode()
        storage.write_bytes(storage.join(self.run, NOTED), note)
        return str(began.info.run_id)

    @contextmanager
    def _losses_told(self) -> Iterator[None]:
        """Goes on without the server where it, or the way to it, fails."""
        from mlflow.exceptions import MlflowException

        try:
            yield
        except (MlflowException, OSError) as error:
            cause = redact(str(error).splitlines()[0])
            logger.warning("MLflow gets no more numbers of this training: %s", cause)
            self._client = None


def flat(values: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted paths and plain values of nested settings.

    Args:
        values: Nested.
        path: Of the values, with a dot behind it.
    """
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{path}{name}.")
        else:
            yield f"{path}{name}", value
