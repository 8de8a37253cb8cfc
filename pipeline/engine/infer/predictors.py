"""The processes that hold a model, and what they do with a block."""

from __future__ import annotations

import logging
import math
import os
import pickle
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa

from pipeline.config import Config
from pipeline.errors import ConfigError
from pipeline.logs import event
from pipeline.prediction.spec import Model, ModelSpec, Precision

if TYPE_CHECKING:
    from pipeline.prediction.predictor import Predictor

ACTORS_CPUS_FRACTION = (
    0.5  # of the CPUs, at most, that actors count as; decode tasks keep their own share
)
ACTOR_CPUS = 0.5  # what an actor of one thread is counted as
CPU_STEPS = 1000  # of a CPU, in which Ray counts them; rounded up, the last process would not fit
MEMORY_FRACTION = 0.25  # of the cluster's, that the copies of an encoder's weights on CPUs may take

Predict = Callable[[pa.Table], pa.Table]
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Resources:
    """What an executor has for the work.

    Attributes:
        cpus: Of all nodes.
        memory_bytes: Of all nodes.
        gpus: Of all nodes.
    """

    cpus: int
    memory_bytes: float
    gpus: float = 0.0


@dataclass(frozen=True)
class PredictorPool:
    """The processes that hold a model.

    Attributes:
        spec: The model, and how it runs.
        num_actors: How many.
        num_gpus: Of each.
        num_cpus: That each is counted as, on CPUs.
        whole_parts: Whether each decodes and writes its parts itself. Where a network on CPUs takes nearly all of the
            time, stages would only take turns, and handing their blocks on took a tenth of two cores.
    """

    spec: ModelSpec
    num_actors: int
    num_gpus: float
    num_cpus: float = ACTOR_CPUS
    whole_parts: bool = False


def predictor_loader(spec: ModelSpec) -> Callable[[], Predict]:
    """Loads the predictor where it is called, so that the driver need not hold the network."""
    return partial(_load, spec)


def _load(spec: ModelSpec) -> Predict:
    from pipeline.prediction.predictor import load_predictor

    return load_predictor(spec)


_loaded: tuple[bytes, Predictor] | None = None


def predictor_here(spec: ModelSpec) -> Predictor:
    """The predictor of this process, loaded at the first of its parts; another model takes its place."""
    global _loaded
    described = pickle.dumps(spec)
    if _loaded is None or _loaded[0] != described:
        from pipeline.prediction.predictor import load_predictor

        _loaded = None  # two networks need not fit
        _loaded = described, load_predictor(spec)
    return _loaded[1]


def model_spec(config: Config) -> ModelSpec:
    """The model that the configuration names, to be run in this process."""
    return ModelSpec(
        model=config.folder("model", config.infer.model),
        modalities=config.modalities,
        weights=config.infer.weights,
        settings=config.infer.settings,
        batch_size=config.infer.batch_size,
        float16=config.infer.float16,
        precision=precision_of(config),
        compile=config.infer.compile,
        seed=config.infer.seed,
        objective=config.objective.said() if config.objective else None,
    )


def precision_of(config: Config) -> Precision:
    """The configured precision; ``auto`` by the devices that the model is configured to run on.

    It says so before there is a model, since rows of the one and of the other must not meet in one output.
    """
    if config.infer.precision != "auto":
        return config.infer.precision
    return "bfloat16" if config.cluster.gpus_per_worker else "float32"


def predictor_pool(
    config: Config, resources: Resources, model: Model | None = None
) -> PredictorPool:
    """As many processes that predict as the configuration or the executor's resources ask for.

    With GPUs, as many as fit. A bundle on CPUs has one actor and one thread for every two cores, so that decoding has
    the others. Other models on CPUs take nearly all of the time: their processes do whole parts, one of one thread for
    every core, fewer with more threads where their copies of the weights would fill the memory. The threads do not
    depend on ``infer.actors``, since a network's last digits may depend on them.

    Args:
        config: The whole configuration.
        resources: Of the executor.
        model: What :func:`pipeline.prediction.spec.open_model` said of it.
    """
    gpus, cpus = config.cluster.gpus_per_worker, resources.cpus
    spec = replace(model_spec(config), device="cuda" if gpus else "cpu")
    foreign = model.description if model is not None else None
    threads = 1
    if gpus:
        by_size = _on_gpus(config, gpus, resources)
    elif foreign is None:
        by_size = cpus // 2
    else:
        copies = int(MEMORY_FRACTION * resources.memory_bytes / max(1, foreign.num_bytes))
        by_size = min(cpus, max(1, copies))
        threads = min(cpus // by_size, os.cpu_count() or 1)
    num_actors = max(1, config.infer.actors or by_size)
    threads = config.infer.threads or threads
    spec = replace(spec, description=foreign, num_threads=threads)
    whole_parts = foreign is not None and not gpus
    if whole_parts:
        # No more than its threads use: a share of all CPUs of a cluster may be more than any node has.
        share = min(threads, os.cpu_count() or 1, cpus / num_actors)
        counted = math.floor(share * CPU_STEPS) / CPU_STEPS
    else:
        counted = min(ACTOR_CPUS * threads, ACTORS_CPUS_FRACTION * cpus / num_actors)
    return PredictorPool(spec, num_actors, gpus, counted, whole_parts)


def _on_gpus(config: Config, gpus: float, resources: Resources) -> int:
    """How many processes of so many GPUs each fit.

    Raises:
        ConfigError: None does, and no more will come.
    """
    present = resources.gpus
    if present < gpus and config.cluster.address == "local":
        raise ConfigError(
            f"each actor is to have {gpus:g} GPUs, and there are {present:g} on this machine",
            where="cluster.gpus_per_worker",
            fix="set cluster.gpus_per_worker=0 to run on CPUs",
        )
    if gpus > 1:
        event(logger, "gpus_idle", each=gpus, used=1)
    return int(present / gpus)
