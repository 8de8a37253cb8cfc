"""What a report is made of: plain data, so that a page can be built and tested without a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

    from pipeline.reports.section import Section

from pipeline.cleaning.report import CleaningReport
from pipeline.metrics.record import EvaluationRecord
from pipeline.modalities.shown import InTime, MarkedText, Shown
from pipeline.models.record import Kept


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
        heading: As of a :class:`pipeline.reports.section.Judgement`.
        in_time: A picture along the sample's time; None where it has none, or nothing is told of its time.
        times: As of a judgement.
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
    heading: str = ""
    in_time: InTime | None = None
    times: Sequence[tuple[str, float, float]] = ()


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
class SplitCounts:
    """What is in a split.

    Attributes:
        num_samples: Its samples.
        labels: Canonical text of a target -> samples; empty where there are no targets.
        modalities: Modality -> samples that have it.
    """

    num_samples: int = 0
    labels: Mapping[str, int] = field(default_factory=dict)
    modalities: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class QuarantineRow:
    """A sample, or a damage of a shard, that was left out.

    Attributes:
        shard: Shard it lies in.
        key: Key of the sample; None for a damage.
        field: Field at fault; None where none is.
        reason: Of :data:`pipeline.sample.REASONS`, ``FILTERS`` or ``NOTES``.
        detail: What it is and would have to be.
        setting: The setting that would let it through; None where none would.
    """

    shard: str
    key: str | None
    field: str | None
    reason: str
    detail: str | None
    setting: str | None = None


@dataclass(frozen=True, slots=True)
class ReportData:
    """Everything on the page. What is empty is left out, with the command that makes it.

    Attributes:
        title: Name of the run.
        generated: When the page was made, as it shall be shown.
        config_path: The configuration's path as a reader would type it, for the commands shown.
        summary: Numbers of the run. ``seconds`` is a key figure; the others are listed at the end.
        splits: Split -> what is in it.
        quarantine: What was left out; not all of it need be given.
        quarantine_counts: Reason -> count; None counts the rows given.
        filters: ``modality.limit`` -> its value, those that are set.
        cleaning: What each job found that looked for copies.
        examples: With a prediction: right and wrong examples. Without: a look at the data.
        history: Rows of ``metrics.jsonl``: ``epoch``, ``step``, ``train_loss``, ``val_accuracy``, ...
        time_spent: Where the time of the training went, in a sentence; empty where that is not known.
        kept: Which epoch's weights the model has; None before there is a model.
        augmented: Training samples as the augmentation changes them.
        section: What the run's objective says on the page; None where no objective is configured.
        evaluation: Of the evaluated split; None before that.
        predicted: The rows of ``evaluation/predictions.parquet``; None where they are not there.
        not_shown: Why there are no examples with a prediction although there is an evaluation; empty where there are.
        config_yaml: The resolved configuration.
        environment: Versions, commit and machine, as they shall be shown.
    """

    title: str
    generated: str
    config_path: str = "CONFIG.yaml"
    summary: Mapping[str, float | int | str] = field(default_factory=dict)
    splits: Mapping[str, SplitCounts] = field(default_factory=dict)
    quarantine: Sequence[QuarantineRow] = ()
    quarantine_counts: Mapping[str, int] | None = None
    filters: Mapping[str, object] = field(default_factory=dict)
    cleaning: Sequence[CleaningReport] = ()
    examples: Sequence[Example] = ()
    history: Sequence[Mapping[str, float]] = ()
    time_spent: str = ""
    kept: Kept | None = None
    augmented: Sequence[AugmentedSample] = ()
    section: Section | None = None
    evaluation: EvaluationRecord | None = None
    predicted: pa.Table | None = None
    not_shown: str = ""
    config_yaml: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
