"""The sections of the configuration that belong to jobs; :mod:`pipeline.config` joins them with those of the parts."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from pipeline.evaluation import RobustnessConfig
from pipeline.locations import SPLITS, Location, ModelName, Patterns
from pipeline.modalities.base import Verify
from pipeline.modalities.decoding.rows import OnBadField
from pipeline.modalities.pretrained import is_encoder
from pipeline.modalities.section import Section
from pipeline.prediction.own import is_own, with_all_methods

__all__ = ["SPLITS", "Patterns"]


class InputConfig(Section):
    """Which shards there are, and how much of them may be bad."""

    train: Patterns | None = Field(
        default=None,
        description="shards to train on: braces, globs, folders or lists; local, s3://, gs://, https://",
    )
    val: Patterns | None = Field(
        default=None, description="shards that choose the best epoch, in the same forms"
    )
    test: Patterns | None = Field(
        default=None, description="shards to evaluate and predict, in the same forms"
    )
    metadata: tuple[str, ...] = Field(
        default=(), description="fields carried along as string columns, never shown to a model"
    )
    max_bad_fraction: float = Field(
        default=0.05, ge=0, le=1, description="above it a job ends with exit code 3"
    )
    max_samples: int | None = Field(
        default=None, ge=1, description="of each input, for a first try; all by default"
    )
    on_bad_field: OnBadField = Field(
        default="quarantine",
        description="drop keeps a sample without the modality that is bad, and still records the field",
    )
    fingerprint: Literal["listing", "content"] = Field(
        default="listing",
        description="what tells that a shard has changed: size and time of a listing, or all its bytes",
    )
    verify: Verify = Field(
        default="full",
        description="kept stops decoding a sound after the seconds that are kept: faster, and blind to later damage",
    )


class QuarantineConfig(Section):
    """What is kept of bad samples."""

    keep_bytes: bool = Field(default=False, description="the raw member at fault, in column bytes")


class LintConfig(Section):
    """What is looked at without decoding, and how closely."""

    input: Patterns | None = Field(
        default=None,
        description="a split, splits, or a pattern; all splits that are set by default",
    )
    output: Location | None = Field(
        default=None, description="folder to write; RUN/lint by default"
    )
    max_text_bytes: int = Field(
        default=1 << 20, ge=0, description="larger labels, texts and metadata are not read"
    )
    estimate_samples: int = Field(
        default=64, ge=0, description="samples decoded to estimate the cost of preprocess; 0: none"
    )
    write_index: bool = Field(
        default=False, description="writes SHARD.idx, in the wds2idx format, beside each shard"
    )
    seed: int = Field(default=0, description="of the draw of those samples")


class PreprocessConfig(Section):
    """What is decoded into Parquet: a split or a pattern."""

    input: Patterns = Field(default="train", description="a split, or a pattern of shards")
    output: Location | None = Field(
        default=None, description="folder to write; RUN/decoded by default"
    )
    replace: bool = Field(
        default=False,
        description="replaces rows of another input or other settings, once the new ones are whole",
    )


class InferConfig(Section):
    """What a model is run over, and where its predictions go."""

    input: Patterns = Field(default="test", description="a split, or a pattern of shards")
    model: Annotated[ModelName, AfterValidator(with_all_methods)] | None = Field(
        default=None,
        description="folder of a bundle, RUN/model by default; a pretrained encoder: torchvision:NAME, timm:NAME, "
        "open_clip:NAME, hf:FOLDER; a pretrained generator of texts: hf:FOLDER; or a predictor of your own: "
        "python:package.module:Class",
    )
    weights: Location | None = Field(
        default=None,
        description="file or folder of the weights of an encoder, or of a predictor of your own, on this machine; "
        "nothing is ever downloaded",
    )
    settings: dict[str, Any] = Field(
        default={},
        description="of a pretrained generator, such as max_new_tokens and num_beams, or of a predictor of your own",
    )
    output: Location | None = Field(
        default=None, description="folder to write; RUN/embeddings by default"
    )
    batch_size: int = Field(default=64, ge=1, description="samples of a micro-batch")
    actors: int | None = Field(default=None, ge=1, description="that hold the model, in all")
    threads: int | None = Field(default=None, ge=1, description="CPU threads of each actor")
    float16: bool = Field(default=False, description="embeddings as float16")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto",
        description="of matrix products; auto is bfloat16 on a GPU, float32 elsewhere",
    )
    compile: bool = Field(default=False, description="compiles the model with torch.compile")
    seed: int = Field(
        default=0, description="of what a model draws for a sample, beside its shard and key"
    )
    replace: bool = Field(
        default=False,
        description="replaces rows of another input, model or settings, once the new ones are whole",
    )
    new_version: bool = Field(
        default=False,
        description="where the output is of another input, model or settings, writes beside it, to OUTPUT-v2 and so on",
    )
    retry_quarantined: bool = Field(
        default=False,
        description="runs only the samples that are in the output's _quarantine, and adds those that have become good",
    )

    @model_validator(mode="after")
    def _one_way(self) -> InferConfig:
        if self.settings and not (is_own(self.model or "") or is_encoder(self.model or "")):
            raise ValueError(
                "settings are those of a python:package.module:Class in model, or of a generator, hf:FOLDER"
            )
        ways = ("replace", "new_version", "retry_quarantined")
        chosen = [name for name in ways if getattr(self, name)]
        if self.replace and len(chosen) > 1:
            raise ValueError(
                f"{chosen[1]} keeps the rows that are there, and replace lets them go: set one of them"
            )
        return self


class EvaluateConfig(Section):
    """How a model is judged."""

    input: Patterns = Field(default="test", description="a labelled split, or a pattern of shards")
    num_bootstrap: int = Field(
        default=1000, ge=0, description="resamples behind the 95 % intervals; 0: none"
    )
    seed: int = Field(default=0, description="of those resamples, and of cheap baselines")
    common_samples: bool = Field(
        default=False,
        description="compares models on the samples that all of them have judged, and says so; runs of different test "
        "sets are refused otherwise",
    )
    baselines: bool = Field(default=True, description="puts cheap models beside those compared")
    baseline_samples: int = Field(
        default=10_000, ge=1, description="of input.train that those are fitted on, drawn at random"
    )
    slices: tuple[str, ...] = Field(
        default=(),
        description="metadata whose values, or ranges of numbers, are judged by themselves: a field, or json.path "
        "inside a JSON field",
    )
    robustness: RobustnessConfig = RobustnessConfig()
    probe_samples: int = Field(
        default=10_000,
        ge=0,
        description="of input.train that probes of labels are fitted on, drawn at random; 0 fits them within "
        "evaluate.input",
    )
    prompts: dict[str, str | tuple[str, ...]] = Field(
        default={},
        description="class -> a text, or several, that describe it: samples are told apart by them alone, for an "
        "objective that embeds texts",
    )
    judge: Location | None = Field(
        default=None,
        description="folder of a model that judges what this one makes of modalities, each alone, by the sample's own "
        "truth; without, coherence is not measured",
    )
    templates: tuple[str, ...] = Field(
        default=("{}",),
        min_length=1,
        description="sentences that each prompt is put into, at {}: all of them together are its class",
    )

    @field_validator("prompts")
    @classmethod
    def _usable_prompts(cls, prompts: dict[str, object]) -> dict[str, object]:
        if empty := [name for name, texts in prompts.items() if not texts]:
            raise ValueError(f"{empty[0]} has none")
        return prompts

    @field_validator("templates")
    @classmethod
    def _usable_templates(cls, templates: tuple[str, ...]) -> tuple[str, ...]:
        for template in templates:
            if "{}" not in template:
                raise ValueError(f"{template!r} has no {{}}, where the prompt goes")
        return templates

    def prompt_texts(self) -> list[tuple[str, str]]:
        """(class, text) of all prompts in all templates."""
        return [
            (name, template.replace("{}", prompt))
            for name, prompts in self.prompts.items()
            for prompt in ([prompts] if isinstance(prompts, str) else prompts)
            for template in self.templates
        ]


class ReportConfig(Section):
    """What the report shows."""

    num_examples: int = Field(
        default=12, ge=0, le=100, description="samples of each kind that are shown"
    )


class ClusterConfig(Section):
    """Where a job runs."""

    address: str = Field(
        default="local",
        description="local, this machine; auto, the cluster of this machine; or HOST:PORT of one",
    )
    executor: Literal["auto", "here", "ray", "ray_data"] = Field(
        default="auto",
        description="here works in this process and its decoding processes; ray on Ray, by tasks and actors; "
        "ray_data on Ray as stages of Ray Data; "
        "auto is here for a local address without a GPU while at most 64 parts are left to do",
    )
    workers: int | tuple[int, int] = Field(
        default=1,
        description="of Ray Train, each with a share of a batch; or two numbers, the least and the most: as many as "
        "the cluster has room for, whenever that changes",
    )
    resize_seconds: float = Field(
        default=60,
        ge=1,
        description="between two looks whether there is room for other workers, where workers are two numbers",
    )
    max_restarts: int = Field(
        default=10,
        ge=0,
        description="of a training that has lost a worker, at most; as many more after notices that a node will be "
        "taken away, and where workers do not start",
    )
    wait_seconds: int = Field(
        default=1800,
        ge=1,
        description="that training workers wait for each other, so longer than a validation takes; then they start "
        "again, or the training ends, see max_restarts",
    )
    gpus_per_worker: float = Field(
        default=0, ge=0, description="GPUs of each training worker and of each model's process"
    )
    num_cpus: int | None = Field(
        default=None, ge=1, description="CPUs used with address local; all unless given"
    )

    @field_validator("workers", mode="before")
    @classmethod
    def _some_workers(cls, workers: Any) -> Any:
        numbers = workers if isinstance(workers, list | tuple) else [workers, workers]
        if len(numbers) != 2 or any(type(number) is not int or number < 1 for number in numbers):
            raise ValueError("one number of at least 1, or two: the least and the most")
        if numbers[0] > numbers[1]:
            raise ValueError("the least comes first")
        return workers

    @property
    def least_workers(self) -> int:
        """Workers without which a training waits."""
        return self.workers[0] if isinstance(self.workers, tuple) else self.workers

    @property
    def most_workers(self) -> int:
        """Workers that a training has where there is room."""
        return self.workers[1] if isinstance(self.workers, tuple) else self.workers
