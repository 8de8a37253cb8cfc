"""How models are trained: the settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from pipeline.modalities.section import Section


class EarlyStoppingConfig(Section):
    """When a training ends before its last epoch; the best epoch is kept either way."""

    patience: int = Field(
        default=5,
        ge=1,
        description="epochs in a row that may be no better than the best before them",
    )
    min_delta: float = Field(
        default=0.0, ge=0, description="by how much the score must be better to count as better"
    )


class CheckpointConfig(Section):
    """When the state is written within an epoch; it is at the end of each, too."""

    seconds: float | None = Field(
        default=300.0, gt=0, description="between two checkpoints; none by time where null"
    )
    steps: int | None = Field(
        default=None, ge=1, description="between two checkpoints; none by steps where null"
    )


class TrainConfig(Section):
    """How the model is trained."""

    FOR_FEW: ClassVar[Mapping[str, object]] = {"epochs": 40}

    epochs: int = Field(default=20, ge=1, description="passes over the training samples")
    batch_size: int = Field(default=64, ge=1, description="samples of a step, over all workers")
    rows_at_once: int | None = Field(
        default=None,
        ge=1,
        description="samples that a worker computes at a time, where its share of a batch has more: in less memory, "
        "with the gradients of the whole batch; all at once where null",
    )
    learning_rate: float = Field(
        default=1e-3, gt=0, description="highest, after the warm-up; it then falls, see schedule"
    )
    optimizer: Literal["adamw", "sgd", "muon"] = Field(
        default="adamw",
        description="sgd has Nesterov's momentum of 0.9 and wants a higher learning rate; muon moves matrices of "
        "linear layers by Muon, by steps as large as AdamW's, which moves the rest",
    )
    weight_decay: float = Field(
        default=0.05, ge=0, description="of weights of linear and convolution layers alone"
    )
    schedule: Literal["cosine", "linear", "step", "constant"] = Field(
        default="cosine",
        description="of the learning rate after the warm-up: cosine and linear fall to 0, step to a tenth at half and "
        "a hundredth at three quarters of the way, constant leaves it at its highest",
    )
    warmup_fraction: float = Field(default=0.1, ge=0, le=1, description="share of all steps")
    max_gradient_norm: float = Field(
        default=1.0, gt=0, description="larger gradients are scaled down to this norm"
    )
    average_decay: float = Field(
        default=0.99,
        ge=0,
        lt=1,
        description="of the weights' moving average; 0 keeps the last weights",
    )
    augment: bool = Field(
        default=True,
        description="applies modalities.NAME.augment; false trains on samples as they are",
    )
    cache: Literal["none", "memory", "disk"] = Field(
        default="memory",
        description="where decoded samples stay after the first epoch: memory is Ray's object store or this process, "
        "what is beyond 0.3 of it in temporary files; disk is RUN/cache, which the next training of these "
        "settings finds",
    )
    cache_gb: float | None = Field(
        default=None,
        gt=0,
        description="of cache=disk, at most; parts that have no room are decoded in every epoch; no limit where null",
    )
    cache_folder: str | None = Field(
        default=None,
        description="of cache=disk, in place of RUN/cache: several runs may share it, also at the same time, and find "
        "what any of them has decoded with the same settings; nothing is removed from it but by cache_gb",
    )
    shuffle_rows: int = Field(
        default=4096, ge=1, description="samples that are shuffled among at a time, over all lanes"
    )
    lanes: int = Field(
        default=8,
        ge=1,
        description="that parts of shards are dealt to, of which each worker owns some: the order of an epoch "
        "depends on them, and not on the workers",
    )
    early_stopping: EarlyStoppingConfig | None = Field(
        default=None, description="ends a training that gets no better; never, by default"
    )
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto",
        description="of matrix products; auto is bfloat16 on a GPU, float32 elsewhere; float16 is for GPUs without "
        "bfloat16, and scales gradients into its range",
    )
    on_nan: Literal["stop", "skip"] = Field(
        default="stop",
        description="what a loss or gradients that are not finite do: stop ends the training and names the samples, "
        "skip leaves out that step, which is counted as steps_left_out and costs a GPU a wait in every step",
    )
    max_seconds: float | None = Field(
        default=None,
        gt=0,
        description="ends the training behind the step in which this time is over, with a checkpoint that "
        "train.resume=true goes on from; the best epoch until then is the model; no limit where null",
    )
    profile: bool = Field(
        default=False,
        description="writes a trace of six steps to RUN/profile/steps.json.gz, for Perfetto; --profile sets it",
    )
    track: list[Literal["tensorboard", "mlflow"]] = Field(
        default=["tensorboard"],
        description="where the numbers of epochs go beside metrics.jsonl: RUN/tensorboard; the MLflow "
        "server of MLFLOW_TRACKING_URI (pip install 'multimodal-pipeline[mlflow]')",
    )
    checkpoint_every: CheckpointConfig = CheckpointConfig()
    keep_checkpoints: int = Field(
        default=2, ge=1, description="checkpoints that stay, the last one among them"
    )
    resume: bool = Field(default=False, description="goes on from the last checkpoint of the run")
    overwrite: bool = Field(
        default=False,
        description="trains anew, and replaces a model of other data or settings that the run has",
    )
    seed: int = Field(default=0, description="of weights, order, augmentation and dropout")
