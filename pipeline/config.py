"""The configuration: one typed tree, one YAML file, overrides as ``dotted.path=value``."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypedDict

import yaml
from pydantic import Field, ValidationError, model_validator

from pipeline import storage
from pipeline.cleaning import CleaningConfig
from pipeline.errors import ConfigError
from pipeline.evaluation import SweepConfig
from pipeline.limits import Limits
from pipeline.locations import EXPAND, Location, locations_in
from pipeline.modalities import ModalitiesConfig
from pipeline.modalities.base import Verify
from pipeline.modalities.decoding.rows import OnBadField
from pipeline.modalities.section import Section
from pipeline.modalities.shown import readable
from pipeline.nightly import NightlyConfig
from pipeline.objectives import ObjectiveConfig
from pipeline.objectives.base import ObjectiveSection
from pipeline.packing.config import PackConfig
from pipeline.plugins import class_names, make_importable
from pipeline.prediction.own import is_own
from pipeline.safe_text.redaction import redacted
from pipeline.search import SearchConfig
from pipeline.sections import (
    SPLITS,
    ClusterConfig,
    EvaluateConfig,
    InferConfig,
    InputConfig,
    LintConfig,
    Patterns,
    PreprocessConfig,
    QuarantineConfig,
    ReportConfig,
)
from pipeline.settings import apply_override, explain, with_defaults
from pipeline.sinks import ParquetConfig, SinkConfig
from pipeline.training.section import TrainConfig
from pipeline.yaml_tree import read_yaml

__all__ = [
    "SPLITS",
    "ClusterConfig",
    "Config",
    "PackConfig",
    "Patterns",
    "TrainConfig",
    "load",
    "to_yaml",
    "validate",
]


class Handling(TypedDict):
    """Arguments of :meth:`pipeline.modalities.decoding.decoder.Decoder.build` that every job gives alike."""

    verify: Verify
    on_bad_field: OnBadField
    keep_bytes: bool
    limits: Limits


class Config(Section):
    """The whole tree."""

    run: Location = Field(
        description="folder or object-store URL of the run; what jobs write lies below it"
    )
    input: InputConfig = InputConfig()
    modalities: ModalitiesConfig
    objective: ObjectiveConfig | None = Field(
        default=None,
        description="what a model is for, classify unless told; only training and evaluation need one",
    )
    pack: PackConfig | None = None
    lint: LintConfig = LintConfig()
    cleaning: CleaningConfig = CleaningConfig()
    train: TrainConfig = TrainConfig()
    preprocess: PreprocessConfig = PreprocessConfig()
    infer: InferConfig = InferConfig()
    nightly: NightlyConfig = NightlyConfig()
    search: SearchConfig = SearchConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    sweep: SweepConfig = SweepConfig()
    report: ReportConfig = ReportConfig()
    sink: SinkConfig = Field(
        default=ParquetConfig(), description="how the rows of preprocess and infer are written"
    )
    quarantine: QuarantineConfig = QuarantineConfig()
    limits: Limits = Limits()
    cluster: ClusterConfig = ClusterConfig()

    @model_validator(mode="after")
    def _parts_that_fit(self) -> Config:
        if self.objective is not None:
            modalities = self.modalities.by_name()
            self.objective.check_inputs(modalities)
            self.objective.check_fields(
                {name: modality.fields for name, modality in modalities.items()}
            )
        if self.evaluate.prompts and not readable(self.modalities.media()):
            raise ValueError(
                f"evaluate.prompts: they are texts, and no modality of {', '.join(self.modalities.by_name())} "
                f"reads texts; leave evaluate.prompts out, or add one that does"
            )
        return self

    @model_validator(mode="after")
    def _shared_locations(self) -> Config:
        submitted = "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ  # then local means that cluster
        if self.cluster.address != "local" or submitted:
            if self.cluster.executor == "here":
                place = (
                    "a submitted job" if submitted else f"cluster.address={self.cluster.address}"
                )
                raise ValueError(
                    f"cluster.executor: here works in one process, and {place} is for a cluster; set "
                    f"it to auto or ray"
                )
            for path, value in locations_in(self):
                if storage.is_local(value) and not storage.local_path(value).is_absolute():
                    raise ValueError(
                        f"{path}: {value} is relative, and with a cluster address it would vanish in "
                        f"the copy of the working directory; give a full path that all nodes see, or a URL"
                    )
        return self

    @model_validator(mode="after")
    def _trials_fit(self) -> Config:
        if self.sweep.parallel > 1:
            if self.cluster.executor == "here":
                raise ValueError(
                    "sweep.parallel: runs side by side are work for Ray, and cluster.executor is here; set it to ray, "
                    "or sweep.parallel to 1"
                )
            if self.cluster.most_workers > 1:
                raise ValueError(
                    f"sweep.parallel: each run side by side has one worker, and cluster.workers is "
                    f"{self.cluster.most_workers}; set one of the two to 1"
                )
        return self

    def patterns(self, wanted: Patterns, where: str) -> Patterns:
        """Resolves the name of a split to its patterns.

        Raises:
            ConfigError: The split has none.
        """
        if not isinstance(wanted, str) or wanted not in SPLITS:
            return wanted
        patterns: Patterns | None = getattr(self.input, wanted)
        if not patterns:
            splits = [name for name in SPLITS if getattr(self.input, name)]
            section, _, _ = where.partition(".")
            choose = (
                f", or {where} to {' or '.join(splits)}" if splits and section != "input" else ""
            )
            raise ConfigError(
                f"{where} is {wanted}, and input.{wanted} is not set",
                where="configuration",
                fix=f"set input.{wanted} to the shards, for example data/x-{wanted}-*.tar{choose}",
            )
        return patterns

    def plugged(self) -> frozenset[str]:
        """Names of a person's own classes, which may be imported for a bundle; see :mod:`pipeline.plugins`."""
        return frozenset(class_names(self.model_dump(include={"objective", "modalities"})))

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

    def with_encoders(self, modalities: ModalitiesConfig, sized_for: int | None) -> Config:
        """This configuration with the encoders of a model; see :meth:`ModalitiesConfig.with_encoders`.

        Args:
            modalities: Of the model.
            sized_for: See :attr:`pipeline.models.bundle.Bundle.sized_for`.
        """
        suited = self.modalities.for_samples(sized_for, modalities)
        update = {"modalities": suited.with_encoders(modalities)}
        return self.for_samples(sized_for).model_copy(update=update)

    def for_samples(self, count: int | None, made: Section | None = None) -> Config:
        """This configuration as it suits a training split of so many samples; see :meth:`Section.for_samples`."""
        sections = {name: getattr(self, name) for name in ("modalities", "objective", "train")}
        return self.model_copy(
            update={
                name: section.for_samples(count, getattr(made, name, None))
                for name, section in sections.items()
                if section is not None
            }
        )

    def require_objective(self) -> ObjectiveSection:
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

    def check_training(self) -> None:
        """Refuses what no training could keep to.

        Raises:
            ConfigError: There is no objective, or its settings do not go with the splits.
        """
        self.require_objective().check_training(validates=self.input.val is not None)


def load(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Reads a YAML file and applies overrides.

    Args:
        path: The file.
        overrides: ``dotted.path=value``, the value as YAML.

    Raises:
        ConfigError: The file or an override is wrong; names the setting and, for an unknown one, the nearest known.
    """
    tree = _read_tree(path, overrides)
    if _asks_for_classes(tree):
        make_importable(Path(path).parent)
    return validate(with_defaults(tree, Config), where=str(path), overrides=overrides)


def names_classes(path: str | Path, overrides: Sequence[str] = ()) -> bool:
    """Whether a configuration names a person's own classes; nothing else of it is checked.

    Args:
        path: As of :func:`load`.
        overrides: As of :func:`load`.

    Raises:
        ConfigError: The file cannot be read, or an override is none.
    """
    return _asks_for_classes(_read_tree(path, overrides))


def _asks_for_classes(tree: Mapping[str, object]) -> bool:
    infer = tree.get("infer")
    model = infer.get("model") if isinstance(infer, Mapping) else None
    return any(class_names(tree)) or (isinstance(model, str) and is_own(model))


def _read_tree(path: str | Path, overrides: Sequence[str]) -> dict[str, object]:
    tree = read_yaml(path)
    for override in overrides:
        apply_override(tree, override)
    return tree


def validate(
    tree: Mapping[str, object], where: str = "configuration", overrides: Sequence[str] = ()
) -> Config:
    """Checks a tree of settings; see :func:`load`."""
    try:
        return Config.model_validate(tree, context=EXPAND)
    except ValidationError as error:
        raise explain(
            Config, error, where, [text.partition("=")[0] for text in overrides], tree
        ) from None


def to_yaml(config: Config) -> str:
    """The resolved configuration, defaults included, as it may be shown: signed URLs lose what opens them."""
    shown = redacted(config.model_dump(mode="json", exclude_none=True))
    text: str = yaml.safe_dump(shown, sort_keys=False, allow_unicode=True)
    return text
