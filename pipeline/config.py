"""The configuration: one typed tree, one YAML file, overrides as ``dotted.path=value``."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypedDict

import yaml
from pydantic import Field, ValidationError, model_validator

from pipeline import storage
from pipeline.cleaning import CleaningConfig
from pipeline.errors import ConfigError
from pipeline.limits import Limits
from pipeline.modalities import ModalitiesConfig
from pipeline.modalities.base import Section, Verify
from pipeline.modalities.rows import OnBadField
from pipeline.models.pretrained import is_encoder
from pipeline.nightly import NightlyConfig
from pipeline.objectives import ObjectiveConfig
from pipeline.search import SearchConfig
from pipeline.settings import apply_override, explain
from pipeline.sinks import ParquetConfig, SinkConfig

Patterns = str | list[str]
SPLITS = ("train", "val", "test")


class Handling(TypedDict):
    """Arguments of :meth:`pipeline.modalities.decode.Decoder.build` that every job gives alike."""

    verify: Verify
    on_bad_field: OnBadField
    keep_bytes: bool
    limits: Limits


class InputConfig(Section):
    """Which shards there are, and how much of them may be bad."""

    train: Patterns | None = None
    val: Patterns | None = None
    test: Patterns | None = None
    metadata: tuple[str, ...] = ()
    max_bad_fraction: float = Field(default=0.05, ge=0, le=1)
    max_samples: int | None = Field(default=None, ge=1)
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


class PackConfig(Section):
    """What is packed into shards, and how it is split."""

    source: str
    output: str
    name: str = "data"
    columns: dict[str, str] = Field(default_factory=dict)
    key: str | None = None
    label: Literal["folder"] | None = None
    split: dict[str, float] = Field(default_factory=lambda: {"train": 0.8, "val": 0.1, "test": 0.1})
    group: str | None = None
    seed: int = 0
    max_shard_bytes: int = Field(default=256 << 20, ge=1 << 10)
    max_shard_samples: int = Field(default=10_000, ge=1)


class LintConfig(Section):
    """What is looked at without decoding, and how closely."""

    input: Patterns | None = Field(
        default=None,
        description="a split, splits, or a pattern; all splits that are set by default",
    )
    output: str | None = None
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


class TrainConfig(Section):
    """How the model is trained."""

    epochs: int = Field(default=20, ge=1)
    batch_size: int = Field(default=64, ge=1, description="samples of a step, over all workers")
    learning_rate: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=0.05, ge=0)
    warmup_fraction: float = Field(default=0.1, ge=0, le=1, description="share of all steps")
    max_gradient_norm: float = Field(default=1.0, gt=0)
    average_decay: float = Field(
        default=0.99,
        ge=0,
        lt=1,
        description="of the weights' moving average; 0 keeps the last weights",
    )
    augment: bool = True
    cache: Literal["none", "memory", "disk"] = Field(
        default="memory",
        description="where decoded samples stay after the first epoch: memory is the object store, "
        "which spills to disk; disk is RUN/cache, which the next training of these settings finds",
    )
    shuffle_rows: int = Field(
        default=4096, ge=1, description="samples that a worker shuffles among"
    )
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    resume: bool = False
    seed: int = 0


class PreprocessConfig(Section):
    """What is decoded into Parquet: a split or a pattern."""

    input: Patterns = "train"
    output: str | None = None


class InferConfig(Section):
    """What a model is run over, and where its predictions go."""

    input: Patterns = "test"
    model: str | None = Field(
        default=None,
        description="folder of a bundle, RUN/model by default; or a pretrained encoder: "
        "torchvision:NAME, timm:NAME, open_clip:NAME, hf:FOLDER",
    )
    weights: str | None = Field(
        default=None,
        description="file or folder of an encoder's weights on this machine; nothing is ever downloaded",
    )
    output: str | None = None
    batch_size: int = Field(default=64, ge=1, description="samples of a micro-batch")
    actors: int | None = Field(default=None, ge=1, description="that hold the model, in all")
    threads: int | None = Field(default=None, ge=1, description="CPU threads of each actor")
    float16: bool = Field(default=False, description="embeddings as float16")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto", description="of an encoder; auto is bfloat16 on a GPU, float32 elsewhere"
    )
    compile: bool = Field(default=False, description="compiles an encoder with torch.compile")
    new_version: bool = Field(
        default=False,
        description="where the output is of another model or other settings, writes beside it, to OUTPUT-v2 and so on",
    )
    retry_quarantined: bool = Field(
        default=False,
        description="runs only the samples that are in the output's _quarantine, and adds those that have become good",
    )


class EvaluateConfig(Section):
    """How a model is judged."""

    input: Patterns = "test"
    num_bootstrap: int = Field(default=1000, ge=0)
    seed: int = 0


class ReportConfig(Section):
    """What the report shows."""

    num_examples: int = Field(default=12, ge=0, le=100)


class ClusterConfig(Section):
    """Where a job runs."""

    address: str = "local"
    workers: int = Field(default=1, ge=1)
    gpus_per_worker: float = Field(default=0, ge=0)
    num_cpus: int | None = Field(
        default=None, ge=1, description="CPUs used with address local; all unless given"
    )


class Config(Section):
    """The whole tree."""

    run: str
    input: InputConfig = InputConfig()
    modalities: ModalitiesConfig
    objective: ObjectiveConfig | None = None
    pack: PackConfig | None = None
    lint: LintConfig = LintConfig()
    cleaning: CleaningConfig = CleaningConfig()
    train: TrainConfig = TrainConfig()
    preprocess: PreprocessConfig = PreprocessConfig()
    infer: InferConfig = InferConfig()
    nightly: NightlyConfig = NightlyConfig()
    search: SearchConfig = SearchConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    report: ReportConfig = ReportConfig()
    sink: SinkConfig = ParquetConfig()
    quarantine: QuarantineConfig = QuarantineConfig()
    limits: Limits = Limits()
    cluster: ClusterConfig = ClusterConfig()

    @model_validator(mode="after")
    def _shared_locations(self) -> Config:
        submitted = "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ  # then local means that cluster
        if self.cluster.address != "local" or submitted:
            for path, value in self.locations():
                if storage.is_local(value) and not storage.local_path(value).is_absolute():
                    raise ValueError(
                        f"{path}: {value} is relative, and with a cluster address it would vanish in "
                        f"the copy of the working directory; give a full path that all nodes see, or a URL"
                    )
        return self

    def locations(self) -> Iterator[tuple[str, str]]:
        """Every input and output that is named, as (setting, location)."""
        yield "run", self.run
        sections: dict[str, Section] = {
            "input": self.input,
            "lint": self.lint,
            "preprocess": self.preprocess,
            "infer": self.infer,
            "evaluate": self.evaluate,
        }
        for name, section in sections.items():
            for key in ("train", "val", "test", "input", "model", "weights", "output"):
                value = getattr(section, key, None)
                if key == "model" and value is not None and is_encoder(value):
                    # Of these, the name of one kind is a folder.
                    value = value.removeprefix("hf:") if value.startswith("hf:") else None
                for one in [value] if isinstance(value, str) else value or []:
                    if not (key == "input" and one in SPLITS):
                        yield f"{name}.{key}", one

    def patterns(self, wanted: Patterns, where: str) -> Patterns:
        """Resolves the name of a split to its patterns.

        Raises:
            ConfigError: The split has none.
        """
        if not isinstance(wanted, str) or wanted not in SPLITS:
            return wanted
        found: Patterns | None = getattr(self.input, wanted)
        if not found:
            raise ConfigError(
                f"{where} is {wanted}, and input.{wanted} is not set",
                where="configuration",
                fix=f"set input.{wanted} to the shards, for example data/x-{wanted}-*.tar",
            )
        return found

    def folder(self, name: str, chosen: str | None = None) -> str:
        """A job's folder: the chosen one, or ``name`` in the run folder."""
        return chosen or storage.join(self.run, name)

    def handling(self) -> Handling:
        """How decoders treat what is bad, as arguments of ``Decoder.build``."""
        return {
            "verify": self.input.verify,
            "on_bad_field": self.input.on_bad_field,
            "keep_bytes": self.quarantine.keep_bytes,
            "limits": self.limits,
        }

    def require_objective(self) -> ObjectiveConfig:
        """The objective.

        Raises:
            ConfigError: None is set.
        """
        if self.objective is None:
            raise ConfigError(
                "this job needs an objective",
                where="objective",
                fix="add, for example, objective: {kind: classify, label: cls}",
            )
        return self.objective


def load(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Reads a YAML file and applies overrides.

    Args:
        path: The file.
        overrides: ``dotted.path=value``, the value as YAML.

    Raises:
        ConfigError: The file or an override is wrong; names the setting and, for an unknown one, the nearest known.
    """
    try:
        text = Path(path).read_text("utf-8")
        tree = yaml.safe_load(text) or {}
    except FileNotFoundError:
        raise ConfigError(
            "no such configuration file", where=str(path), fix="check the path"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the configuration cannot be read: {error}", where=str(path)) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}, line {mark.line + 1}" if mark else str(path)
        raise ConfigError("not YAML", where=where, fix="check indentation and quotes") from None
    if not isinstance(tree, dict):
        raise ConfigError("the configuration is not a mapping of settings", where=str(path))
    for override in overrides:
        apply_override(tree, override)
    return validate(tree, where=str(path), overrides=overrides)


def validate(
    tree: Mapping[str, Any], where: str = "configuration", overrides: Sequence[str] = ()
) -> Config:
    """Checks a tree of settings; see :func:`load`."""
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        raise explain(
            Config, error, where, [text.partition("=")[0] for text in overrides]
        ) from None


def to_yaml(config: Config) -> str:
    """The resolved configuration, defaults included."""
    text: str = yaml.safe_dump(
        config.model_dump(mode="json", exclude_none=True), sort_keys=False, allow_unicode=True
    )
    return text
