"""What an objective puts on the page of a run: the page asks, and the objective's own folder answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import pyarrow as pa

from pipeline.metrics.record import EvaluationRecord
from pipeline.models.record import Score
from pipeline.reports.content import Example
from pipeline.reports.svg import Plot


@dataclass(frozen=True, slots=True)
class KeyFigure:
    """A number of the headline: its kind is ``percent``, ``number`` or ``seconds``."""

    title: str
    value: float | int | str
    kind: str
    ends: Sequence[float] | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Measure:
    """The metric that models and subsets of modalities are compared by.

    Attributes:
        name: In ``evaluation/metrics.json``.
        title: As a heading, such as ``Accuracy``.
        best: Whether the highest or the lowest is the best.
        percent: Whether it is a share, written in percent.
    """

    name: str
    title: str
    best: Literal["max", "min"]
    percent: bool = False

    @property
    def kind(self) -> str:
        """Of a :class:`KeyFigure`."""
        return "percent" if self.percent else "number"

    def gain(self, difference: float) -> float:
        """By how much the second model is better, for the first's metric minus the second's."""
        return -difference if self.best == "max" else difference


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of the page with a template of its own.

    Attributes:
        template: Its path below the package, or its full path where it lies elsewhere.
        values: What the template shows.
    """

    template: str
    values: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Targets:
    """What the data section says of the targets.

    Attributes:
        columns: Headings, and how many decimals each column has.
        rows: Split -> a number a column.
        plot: How they are distributed.
        notes: What looks like a mistake.
    """

    columns: Sequence[tuple[str, int]] = ()
    rows: Mapping[str, Sequence[float | int | None]] = field(default_factory=dict)
    plot: Plot | None = None
    notes: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Judgement:
    """A prediction that is shown.

    Attributes:
        shard: Of the sample.
        key: Of the sample.
        label: Its target, in words; None where the prediction says all.
        prediction: What the model says, in words.
        right: Whether that is right; None where it is a matter of more or less.
        score: How sure the model is, 0..1; None where it does not say.
        probabilities: Answer -> probability, the largest.
        heading: What it belongs to, where a sample is shown several times.
        only: The modalities that are shown; all where None.
        times: What is said or seen when: a text, and the seconds from which and until when.
    """

    shard: str
    key: str
    label: str | None
    prediction: str
    right: bool | None = None
    score: float | None = None
    probabilities: Mapping[str, float] = field(default_factory=dict)
    heading: str = ""
    only: Sequence[str] | None = None
    times: Sequence[tuple[str, float, float]] = ()


@dataclass(frozen=True, slots=True)
class Group:
    """Examples below a heading of their own."""

    title: str
    examples: Sequence[Example]


class Section(Protocol):
    """An objective's answers."""

    @property
    def measure(self) -> Measure:
        """What subsets of modalities are compared by."""

    @property
    def score(self) -> Score:
        """What chose the epoch that was kept."""

    @property
    def curves(self) -> Mapping[str, str]:
        """Title -> metric of the epochs that is drawn beside the loss."""

    def figures(self, evaluation: EvaluationRecord) -> list[KeyFigure]:
        """The numbers of the headline."""

    def lede(self, evaluation: EvaluationRecord) -> Part | None:
        """The result in one sentence."""

    def reference(self, evaluation: EvaluationRecord) -> tuple[float, str] | None:
        """What a model that learned nothing reaches, and its name."""

    def metrics(self, evaluation: EvaluationRecord, predicted: pa.Table | None) -> Part | None:
        """All numbers and figures of the evaluated split.

        Args:
            evaluation: What was found.
            predicted: The rows of ``evaluation/predictions.parquet``; None where they are not there.
        """

    def targets(self, splits: Mapping[str, Mapping[str, int]]) -> Targets:
        """What is to be said of the targets: split -> canonical text -> samples."""

    def label(self, text: str) -> str:
        """A target in words, for its canonical text."""

    def choose(
        self, predicted: pa.Table, evaluation: EvaluationRecord, count: int
    ) -> list[Judgement]:
        """The predictions that are worth a look, at most ``count`` of each kind."""

    def groups(self, examples: Sequence[Example]) -> list[Group]:
        """Those of :meth:`choose` as samples, below headings."""


def titles_of(section: Section) -> dict[str, str]:
    """Metric -> its title, as an objective's section has it; some have more of them, as ``titles``."""
    titles: Mapping[str, str] = getattr(section, "titles", {})
    curves = {name: title for title, name in section.curves.items()}
    return {**curves, section.measure.name: section.measure.title, **titles}


def in_sentence(title: str) -> str:
    """A title as it stands within a sentence: with a small letter, unless it begins with an abbreviation or a name."""
    first = title.partition(" ")[0]
    return title[:1].lower() + title[1:] if first[1:].isalpha() and first[1:].islower() else title
