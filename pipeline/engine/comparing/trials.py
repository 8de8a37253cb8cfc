"""Runs side by side, as trials of Ray Tune: each trains in a process of its own, with its share of the cluster."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence

import ray
from ray import tune
from ray.tune.experiment import Trial

from pipeline.config import Config
from pipeline.engine.cluster.auth import environment
from pipeline.engine.cluster.session import num_cpus
from pipeline.errors import RunError
from pipeline.isolation.answer import decode_error, encode_error
from pipeline.safe_text.redaction import redact

RESTARTS = 2  # of a trial whose process or node was lost
PLACE, ERROR = "place", "error"
# Relative folders stay those of the job, Ctrl-C its own, and nothing is logged beside what a run writes itself.
_SETTINGS = {
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
}


def side_by_side(
    work: Callable[[Config], object],
    configs: Sequence[Config],
    parallel: int,
    on_end: Callable[[Config], None] = lambda _: None,
) -> None:
    """Does something with each of some configurations, several at a time, on the Ray of this process.

    What a run has done is known by its own folder, so that nothing is kept of the trials. All of them go to their
    end, also where one fails.

    Args:
        work: Picklable; the configurations that it is given have it work in its own process. Called again for one whose
            process was lost.
        configs: Of runs.
        parallel: So many at a time, at most.
        on_end: Called for each whose work has come to its end.

    Raises:
        PipelineError: The first that the work has raised.
        RunError: A process was lost again and again.
    """
    if not configs:
        return
    cpus, gpus = share(parallel), configs[0].cluster.gpus_per_worker
    alone = [_alone(config, cpus) for config in configs]
    trainable = tune.with_parameters(_trial, work=work, configs=alone)
    # Only this process reads what Tune notes of its trials.
    with tempfile.TemporaryDirectory(prefix="trials-") as folder, environment(_SETTINGS):
        results = tune.Tuner(
            tune.with_resources(trainable, {"cpu": cpus, "gpu": gpus}),
            param_space={PLACE: tune.grid_search(list(range(len(configs))))},
            tune_config=tune.TuneConfig(max_concurrent_trials=parallel),
            run_config=tune.RunConfig(
                name="sweep",
                storage_path=folder,
                failure_config=tune.FailureConfig(max_failures=RESTARTS),
                callbacks=[_Ends(lambda place: on_end(configs[place]))],
                verbose=0,
            ),
        ).fit()
        ended = [results[place] for place in range(len(results))]
        outcomes = [(result.error, (result.metrics or {}).get(ERROR)) for result in ended]
    for config, (lost, told) in zip(configs, outcomes, strict=True):
        if told:
            raise decode_error(json.loads(told))
        if lost is not None:
            raise RunError(
                f"its process was lost {RESTARTS + 1} times: {redact(str(lost).strip().splitlines()[-1])[:300]}",
                where=config.run,
                fix="see the log above; the same command goes on from the last checkpoints",
            )


def share(parallel: int) -> int:
    """CPUs of each of so many trials: an equal part of the cluster's, that a node has."""
    nodes = ray.nodes()  # type: ignore[no-untyped-call]
    largest = max((node["Resources"].get("CPU", 0) for node in nodes if node["Alive"]), default=1)
    return max(1, int(min(num_cpus() // parallel, largest)))


def _alone(config: Config, cpus: int) -> Config:
    """The same run, by the process that it is given to."""
    cluster = {"executor": "here", "address": "local", "num_cpus": cpus}
    return config.model_copy(update={"cluster": config.cluster.model_copy(update=cluster)})


def _trial(
    setting: Mapping[str, int], work: Callable[[Config], object], configs: Sequence[Config]
) -> dict[str, str]:
    """What Tune runs; an error is its result, since another attempt would meet it again."""
    try:
        work(configs[setting[PLACE]])
    except Exception as error:  # noqa: BLE001 - it is raised again on the driver
        return {ERROR: json.dumps(encode_error(error))}
    return {ERROR: ""}


class _Ends(tune.Callback):
    """Tells of trials that have come to their end."""

    def __init__(self, on_end: Callable[[int], None]) -> None:
        self._on_end = on_end

    def on_trial_complete(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: object
    ) -> None:
        """Called by Tune."""
        if not trial.last_result.get(ERROR):
            self._on_end(trial.config[PLACE])
