"""What a report is made of: plain data, so that a page can be built and tested without a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

    from pipeline.reports.section import Section

from pipeline.modalities.shown import MarkedText, Shown


@dataclass(frozen=True, slots=True)
class Example:
    """One sample to look at and to listen to.

    Attributes:
        key: Key of the sample.
        shard: Shard it lies in.
        split: Split of that shard.
        label: Its label, None where it has none.
        shown: Modality -> what is to be seen, heard or read of it; those that it has.
        prediction: What the model says; None for an example that only shows the data.
        score: Probability of the prediction, 0..1.
        probabilities: Class -> probability; all of them, or the largest.
        right: Whether the prediction is right; None where it is a matter of more or less, or not known.
    """

    key: str
    shard: str
    split: str
    label: str | None = None
    shown: Mapping[str, Shown] = field(default_factory=dict)
    prediction: str | None = None
    score: float | None = None
    probabilities: Mapping[str, float] = field(default_factory=dict)
    right: bool | None = None


@dataclass(frozen=True, slots=True)
class AugmentedView:
    """A sample as one epoch of training sees it.

    Attributes:
        title: Which epoch, or that it is the original.
        shown: Modality -> what is to be seen or read of it; those that it has.
    """

    title: str
    shown: Mapping[str, Shown | MarkedText] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AugmentedSample:
    """A training sample, as it is and as the augmentation makes it.

    Attributes:
        key: Key of the sample.
        shard: Shard it lies in.
        views: The original, then one view an epoch.
    """

    key: str
    shard: str
    views: Sequence[AugmentedView]


@dataclass(frozen=True, slots=True)
class ReportData:
    """Everything on the page. What is empty is left out, with the command that makes it.

    Attributes:
        title: Name of the run.
        generated: When the page was made, as it shall be shown.
        config_path: The configuration's path as a reader would type it, for the commands shown.
        summary: Numbers of the run. ``seconds`` is a key figure; the others are listed at the end.
        splits: Split -> ``num_samples``, ``labels`` (label -> count), ``modalities`` (name -> count).
        quarantine: Rows with ``shard``, ``key``, ``field``, ``reason``, ``detail``; not all of them
            need be given.
        quarantine_counts: Reason -> count; None counts the rows given.
        filters: ``modality.limit`` -> its value, those that are set.
        cleaning: What each job found that looked for copies: ``job``, ``settings``, ``splits`` with ``samples``,
            ``left_out`` and ``found`` (reason -> count), ``parts_not_compared`` and ``examples``.
        examples: With a prediction: right and wrong examples. Without: a look at the data.
        history: Rows of ``metrics.jsonl``: ``epoch``, ``step``, ``train_loss``, ``val_accuracy``, ...
        kept: Which epoch's weights the model has: ``epoch``, ``of``, ``chosen_by``; None before there is a model.
        augmented: Training samples as the augmentation changes them.
        section: What the run's objective says on the page; None where no objective is configured.
        evaluation: ``evaluation/metrics.json``; None before that.
        predicted: The rows of ``evaluation/predictions.parquet``; None where they are not there.
        config_yaml: The resolved configuration.
        environment: Versions, commit and machine, as they shall be shown.
    """

    title: str
    generated: str
    config_path: str = "CONFIG.yaml"
    summary: Mapping[str, float | int | str] = field(default_factory=dict)
    splits: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    quarantine: Sequence[Mapping[str, Any]] = ()
    quarantine_counts: Mapping[str, int] | None = None
    filters: Mapping[str, Any] = field(default_factory=dict)
    cleaning: Sequence[Mapping[str, Any]] = ()
    examples: Sequence[Example] = ()
    history: Sequence[Mapping[str, Any]] = ()
    kept: Mapping[str, Any] | None = None
    augmented: Sequence[AugmentedSample] = ()
    section: Section | None = None
    evaluation: Mapping[str, Any] | None = None
    predicted: pa.Table | None = None
    config_yaml: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
