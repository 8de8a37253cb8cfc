"""A comparison of models on the same samples: a row each, and each pair with its difference and its test."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from pydantic import JsonValue, TypeAdapter

from pipeline.evaluation.judged import Entrant, Judged, check_comparable
from pipeline.evaluation.presence import Presence, Slice, by_presence, by_slice
from pipeline.evaluation.significance import holm, mcnemar, paired_bootstrap
from pipeline.evaluation.words import verdict
from pipeline.evaluation.worsened import Worsened, WorsenedPair, by_corruption, worsened_pairs
from pipeline.metrics.record import Interval, SampleScores
from pipeline.metrics.resampling.bootstrap import bootstrap_interval
from pipeline.metrics.resampling.estimate import paired_difference
from pipeline.metrics.subsets import named_seed
from pipeline.objectives.base import Judging
from pipeline.reports.section import in_sentence, titles_of

MCNEMAR, BOOTSTRAP = "McNemar, exact", "paired bootstrap"


@dataclass(frozen=True)
class Number:
    """One metric of a row.

    Attributes:
        value: The mean over its models; None where it is undefined.
        interval: The 95 % interval over samples; None where there is none.
        deviation: The standard deviation over its models (n - 1); None for a single one.
    """

    value: float | None
    interval: Interval | None = None
    deviation: float | None = None


@dataclass(frozen=True)
class Row:
    """One model, or several that differ in their seed alone.

    Attributes:
        name: Of the row.
        baseline: Whether it is there to be beaten.
        metrics: Metric -> its number, the one that models are compared by first.
        validation: The score on the validation split.
        parameters: See :class:`pipeline.evaluation.judged.Cost`, as the next two; means over models.
        training_seconds: Of one training.
        samples_per_second: Of the evaluation.
        runs: Where the models lie.
    """

    name: str
    baseline: bool
    metrics: Mapping[str, Number]
    validation: Number
    parameters: float | None
    training_seconds: float | None
    samples_per_second: float | None
    runs: tuple[str, ...]


@dataclass(frozen=True)
class Pair:
    """Two rows on the same samples.

    Attributes:
        first: Name of the one.
        second: Name of the other.
        difference: The first's mean score minus the second's.
        interval: Its 95 % interval, from resampled pairs.
        test: Which test the p-values are of; None where there is none.
        p: Of a difference at least as large, were there none.
        p_corrected: The same after Holm, over all pairs of the comparison.
    """

    first: str
    second: str
    difference: float | None
    interval: Interval | None = None
    test: str | None = None
    p: float | None = None
    p_corrected: float | None = None


@dataclass(frozen=True)
class Comparison:
    """The content of ``comparison/comparison.json``.

    Attributes:
        split: What was judged.
        num_samples: Samples that all were judged on.
        metric: That rows are ordered by.
        best: Whether the highest or the lowest is the best.
        score: The score of a sample that pairs are tested by.
        validation: What the score on the validation split is called.
        validation_best: Whether the highest or the lowest of it is the best.
        rows: The best first.
        pairs: Of all rows, those of the best row first.
        verdict: Whether a network is worth it, in words.
        choice: Which network the validation split chooses, in words; empty where it was not asked.
        presence: The score by what samples have, where that is not the same of all.
        slices: The score by the metadata that predictions were written with.
        robustness: The metric as samples are, and with each modality at its worst.
        worsened: Each other network against the best one, where both were made worse.
        notes: What else is to be known of it.
        titles: Metric -> its title, as the objective knows them.
    """

    split: str
    num_samples: int
    metric: str
    best: Literal["max", "min"]
    score: str
    validation: str
    validation_best: Literal["max", "min"]
    rows: tuple[Row, ...]
    pairs: tuple[Pair, ...]
    verdict: str = ""
    choice: str = ""
    presence: tuple[Presence, ...] = ()
    slices: tuple[Slice, ...] = ()
    robustness: tuple[Worsened, ...] = ()
    worsened: tuple[WorsenedPair, ...] = ()
    notes: tuple[str, ...] = ()
    titles: Mapping[str, str] = field(default_factory=dict)

    def title(self, metric: str) -> str:
        """A metric as a heading."""
        words = metric.replace("_", " ")
        return self.titles.get(metric, words[:1].upper() + words[1:])

    def words(self, metric: str) -> str:
        """A metric within a sentence."""
        return in_sentence(self.title(metric))

    def to_json(self) -> dict[str, JsonValue]:
        """Ready for JSON."""
        values: dict[str, JsonValue] = TypeAdapter(Comparison).dump_python(self, mode="json")
        return values


def compare(entrants: Sequence[Entrant], judging: Judging, notes: Sequence[str] = ()) -> Comparison:
    """Compares models.

    Args:
        entrants: At least one; the order is of no account.
        judging: Seed and resamples of intervals and tests.
        notes: Kept as they are.

    Raises:
        ConfigError: They were judged on different samples, or by different metrics or targets.
    """
    check_comparable([model for entrant in entrants for model in entrant.models])
    whole = entrants[0].models[0]
    section = whole.objective.section()
    measure = section.measure
    rows = {entrant.name: _row(entrant, judging) for entrant in entrants}
    sign = -1 if measure.best == "max" else 1

    def rank(entrant: Entrant) -> float:
        value = rows[entrant.name].metrics[measure.name].value
        return np.inf if value is None else sign * value

    ordered = sorted(entrants, key=rank)
    pairs = _corrected([_pair(*pair, judging) for pair in itertools.combinations(ordered, 2)])
    scores = whole.scores
    comparison = Comparison(
        split=whole.record.split,
        num_samples=whole.rows.num_rows,
        metric=measure.name,
        best=measure.best,
        score=measure.name if scores is None else scores.name,
        validation=whole.objective.score.name,
        validation_best=whole.objective.score.direction,
        rows=tuple(rows[entrant.name] for entrant in ordered),
        pairs=tuple(pairs),
        presence=by_presence(ordered, judging),
        slices=by_slice(ordered, judging),
        robustness=by_corruption(ordered, measure.name),
        worsened=worsened_pairs(ordered, judging),
        notes=tuple(notes),
        titles=titles_of(section),
    )
    return replace(comparison, verdict=verdict(comparison))


def _row(entrant: Entrant, judging: Judging) -> Row:
    models = entrant.models
    metric = models[0].objective.metric
    names = dict.fromkeys(
        [metric, *(name for each in models for name in each.record.overall.metrics)]
    )
    metrics = {name: _metric(models, name) for name in names}
    scores = entrant.scores()
    if scores is not None and scores.name == metric and metrics[metric].interval is None:
        seed = named_seed(judging.seed, entrant.name)
        interval = bootstrap_interval(scores.values, seed=seed, num_resamples=judging.num_bootstrap)
        metrics[metric] = replace(metrics[metric], interval=interval)
    return Row(
        name=entrant.name,
        baseline=entrant.baseline,
        metrics=metrics,
        validation=_number([model.validation for model in models]),
        parameters=_number([model.cost.parameters for model in models]).value,
        training_seconds=_number([model.cost.training_seconds for model in models]).value,
        samples_per_second=_number([model.cost.samples_per_second for model in models]).value,
        runs=tuple(model.where for model in models),
    )


def _metric(models: Sequence[Judged], name: str) -> Number:
    number = _number([model.record.overall.metrics.get(name) for model in models])
    if len(models) > 1:
        return number
    return replace(number, interval=models[0].record.overall.interval_of(name))


def _number(values: Sequence[float | None]) -> Number:
    """Mean and deviation over models; undefined where it is for one of them."""
    defined = [value for value in values if value is not None]
    if len(defined) < len(values):
        return Number(None)
    deviation = float(np.std(defined, ddof=1)) if len(defined) > 1 else None
    return Number(float(np.mean(defined)), None, deviation)


def _pair(first: Entrant, second: Entrant, judging: Judging) -> Pair:
    seed = named_seed(judging.seed, f"{first.name}/{second.name}")
    ours, theirs = first.scores(), second.scores()
    if ours is None or theirs is None:
        return _without_scores(first, second, judging)
    paired = paired_difference(
        ours.values, theirs.values, seed=seed, num_resamples=judging.num_bootstrap
    )
    test, p = _tested(ours, theirs, seed, judging.num_bootstrap)
    return Pair(first.name, second.name, paired.value, paired.interval, test, p)


def _tested(
    ours: SampleScores, theirs: SampleScores, seed: int, num_resamples: int
) -> tuple[str, float | None]:
    if ours.values.dtype == bool and theirs.values.dtype == bool:
        return MCNEMAR, mcnemar(ours.values.astype(bool), theirs.values.astype(bool))
    p = paired_bootstrap(ours.values, theirs.values, seed=seed, num_resamples=num_resamples)
    return BOOTSTRAP, p


def _without_scores(first: Entrant, second: Entrant, judging: Judging) -> Pair:
    """The objective's own difference of two models; none of several, since no sample has a score of its own."""
    if len(first.models) > 1 or len(second.models) > 1:
        return Pair(first.name, second.name, None)
    ours, theirs = first.models[0], second.models[0]
    found = ours.objective.difference(ours.rows, theirs.rows, ours.record.to_json(), judging)
    return TypeAdapter(Pair).validate_python(
        {
            "first": first.name,
            "second": second.name,
            "difference": found["difference"],
            "interval": found["difference_interval"],
        }
    )


def _corrected(pairs: Sequence[Pair]) -> list[Pair]:
    """The pairs with the p-values of those that have one corrected for how many they are."""
    corrected = iter(holm([pair.p for pair in pairs if pair.p is not None]))
    return [
        pair if pair.p is None else replace(pair, p_corrected=next(corrected)) for pair in pairs
    ]
