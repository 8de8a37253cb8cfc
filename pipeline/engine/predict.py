"""The actors that hold a model, and what they do with a block."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pipeline.config import Config
from pipeline.engine.cluster import num_cpus, resource

if TYPE_CHECKING:  # Ray Data's import takes half a second, and jobs without a model do without it
    from ray.data import Dataset

ACTOR_CPUS = 0.5  # what an actor is counted as; beside it, decode tasks keep their own share


@dataclass(frozen=True)
class PredictorPool:
    """The actors that hold a bundle.

    Attributes:
        bundle: Folder of the bundle.
        batch_size: Samples of a micro-batch.
        num_actors: How many.
        num_gpus: Of each.
        num_threads: CPU threads of each.
        float16: Embeddings in half precision.
    """

    bundle: str
    batch_size: int
    num_actors: int
    num_gpus: float
    num_threads: int = 1
    float16: bool = False

    def attach(self, blocks: Dataset) -> Dataset:
        """Adds the predictions to the plan of a data set."""
        from ray.data import ActorPoolStrategy

        return blocks.map_batches(
            _Predict,
            fn_constructor_args=(self.bundle, self.batch_size, self.num_threads),
            fn_constructor_kwargs={"float16": self.float16},
            compute=ActorPoolStrategy(size=self.num_actors),
            batch_size=None,
            batch_format="pyarrow",
            num_cpus=ACTOR_CPUS,
            num_gpus=self.num_gpus,
        )


class _Predict:
    """Builds the predictor in the actor, so that the driver need not import torch."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        from pipeline.objectives.predictor import Predictor

        self.predict = Predictor(*args, **kwargs)

    def __call__(self, table: pa.Table) -> pa.Table:
        return self.predict(table)


def predictor_pool(config: Config, bundle: str) -> PredictorPool:
    """As many actors as the configuration or the cluster asks for.

    On CPUs, one actor and one thread for every two cores, so that decoding has the others.
    """
    gpus = config.cluster.gpus_per_worker
    by_size = int(resource("GPU") / gpus) if gpus else max(1, num_cpus() // 2)
    return PredictorPool(
        bundle=bundle,
        batch_size=config.infer.batch_size,
        num_actors=max(1, config.infer.actors or by_size),
        num_gpus=gpus,
        float16=config.infer.float16,
    )
