"""What transcripts put on the page of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipeline.metrics.record import EvaluationRecord
from pipeline.metrics.texts.errors import Stretch, errors_of, stretches
from pipeline.models.record import Score
from pipeline.objectives.texts.targets import references_of
from pipeline.objectives.transcribe.evaluation import OF_FREQUENT
from pipeline.objectives.transcribe.rows import TOKENS, TRANSCRIPT
from pipeline.reports.comparison import best_single, comparison_rows, gain_over
from pipeline.reports.content import Example
from pipeline.reports.section import Group, Judgement, KeyFigure, Measure, Part, Targets
from pipeline.sample import KEY, LABEL, SHARD

CER = Measure("cer", "Character error rate", "min", percent=True)
TITLES = {
    "cer": "Character error rate",
    "wer": "Word error rate",
    "exact_match": "Exact transcripts",
}
SHOWN = 12  # transcripts with the most errors, and as many with the fewest
MAX_TOLD = 400  # characters of a transcript beside its reference
SEPARATOR = " / "  # between texts that are all right


@dataclass(frozen=True, slots=True)
class Compared:
    """A transcript beside the nearest of its references.

    Attributes:
        key: Of the sample.
        shard: Of the sample.
        rate: Its errors by the reference's characters.
        stretches: What is equal, and what is not.
        times: Symbol, and when it is said, in seconds; those that the transcript has.
    """

    key: str
    shard: str
    rate: float
    stretches: Sequence[Stretch]
    times: Sequence[tuple[str, float, float]]


class TranscriptSection:
    """See :class:`pipeline.reports.section.Section`.

    Args:
        score: What chose the epoch that was kept.
    """

    measure = CER
    curves: Mapping[str, str] = {"Character error rate": "cer", "Word error rate": "wer"}

    def __init__(self, score: Score) -> None:
        self.score = score

    def figures(self, evaluation: EvaluationRecord) -> list[KeyFigure]:
        overall = evaluation.overall
        return [
            KeyFigure(title, value, "percent", ends=overall.interval_of(name))
            for name, title in TITLES.items()
            if (value := overall.metrics.get(name)) is not None
        ]

    def lede(self, evaluation: EvaluationRecord) -> Part | None:
        metrics = evaluation.overall.metrics
        if metrics.get(CER.name) is None:
            return None
        rows = comparison_rows(evaluation, CER.name)
        single = best_single(rows, CER) if len(rows) > 1 else None
        values = {
            "cer": metrics[CER.name],
            "wer": metrics.get("wer"),
            "of_frequent": metrics.get(OF_FREQUENT),
            "num_samples": evaluation.overall.num_samples,
            "split": evaluation.split,
            "single": single,
            "gain": gain_over(single, evaluation, CER) if single is not None else None,
        }
        return Part("objectives/transcribe/lede.html", values)

    def reference(self, evaluation: EvaluationRecord) -> tuple[float, str] | None:
        rate = evaluation.overall.metrics.get(OF_FREQUENT)
        return (rate, "always the most frequent text") if rate is not None else None

    def metrics(self, evaluation: EvaluationRecord, predicted: pa.Table | None) -> Part | None:
        overall = evaluation.overall
        rows = _by_errors(predicted) if predicted is not None and predicted.num_rows else []
        worst = [row for row in rows[:SHOWN] if row.rate > 0]
        content = {
            "numbers": [
                (title, value)
                for name, title in TITLES.items()
                if (value := overall.metrics.get(name)) is not None
            ],
            "undefined": [
                (TITLES[name], words) for name, words in (overall.undefined or {}).items()
            ],
            "lacking": evaluation.details.get("lacking_characters") or {},
            "groups": {
                "The most errors": worst,
                "The fewest errors": rows[len(worst) :][::-1][:SHOWN],
            },
        }
        return Part("objectives/transcribe/metrics.html", content)

    def targets(self, splits: Mapping[str, Mapping[str, int]]) -> Targets:
        rows = {name: _lengths(counted) for name, counted in splits.items()}
        return Targets(columns=(("Different texts", 0), ("Mean characters", 1)), rows=rows)

    def label(self, text: str) -> str:
        return SEPARATOR.join(references_of(text) or ())

    def choose(
        self, predicted: pa.Table, evaluation: EvaluationRecord, count: int
    ) -> list[Judgement]:
        """The most errors first, then others spread over the split."""
        rates = _rates(predicted)
        order = np.argsort(-rates, kind="stable")
        wrong = int((rates > 0).sum())
        remaining = order[min(count, wrong) :]
        spread = remaining[:: max(1, len(remaining) // max(1, count))][:count]
        rows = predicted.take([*order[: min(count, wrong)].tolist(), *spread.tolist()])
        return [
            Judgement(
                shard=row[SHARD],
                key=row[KEY],
                label=SEPARATOR.join(row[LABEL]),
                prediction=row[TRANSCRIPT],
                right=row[TRANSCRIPT] in row[LABEL],
                times=_times(row.get(TOKENS)),
            )
            for row in rows.to_pylist()
        ]

    def groups(self, examples: Sequence[Example]) -> list[Group]:
        """In the order of :meth:`choose`."""
        return [
            Group("With errors, the most first", [e for e in examples if e.right is False]),
            Group("Exact", [e for e in examples if e.right]),
            Group("Without a text", [e for e in examples if e.label is None]),
        ]


def _rates(predicted: pa.Table) -> np.ndarray:
    """Errors by characters of each of N samples, float64 (N,)."""
    errors = errors_of(
        predicted[LABEL].to_pylist(), predicted[TRANSCRIPT].to_pylist(), "characters"
    )
    rates: np.ndarray = errors.edits / errors.lengths
    return rates


def _by_errors(predicted: pa.Table) -> list[Compared]:
    """Those that are shown: the most errors first."""
    rates = _rates(predicted)
    order = np.argsort(-rates, kind="stable")
    ends = order if len(order) <= 2 * SHOWN else np.concatenate([order[:SHOWN], order[-SHOWN:]])
    return [
        _compared(row, rate)
        for row, rate in zip(predicted.take(ends).to_pylist(), rates[ends].tolist(), strict=True)
    ]


def _compared(row: Mapping[str, object], rate: float) -> Compared:
    references, transcript = row[LABEL], row[TRANSCRIPT]
    assert isinstance(references, list)
    assert isinstance(transcript, str)
    errors = [errors_of([[text]], [transcript], "characters").rate or 0.0 for text in references]
    nearest: str = references[int(np.argmin(errors))]
    return Compared(
        key=str(row[KEY]),
        shard=str(row[SHARD]),
        rate=rate,
        stretches=stretches(nearest[:MAX_TOLD], transcript[:MAX_TOLD]),
        times=_times(row.get(TOKENS)),
    )


def _times(tokens: object) -> list[tuple[str, float, float]]:
    rows = tokens if isinstance(tokens, list) else []
    return [(token["symbol"], token["start"], token["end"]) for token in rows[:MAX_TOLD]]


def _lengths(counted: Mapping[str, int]) -> tuple[int, float | None]:
    """Different texts, and their mean length in characters over the samples."""
    samples = sum(counted.values())
    characters = sum(
        len((references_of(text) or ("",))[0]) * count for text, count in counted.items()
    )
    return len(counted), characters / samples if samples else None
