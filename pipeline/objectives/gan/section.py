"""What made values put on the page of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from pipeline.metrics.record import EvaluationRecord
from pipeline.modalities.rendering.base import GENERATED
from pipeline.modalities.shown import Shown
from pipeline.models.record import Score
from pipeline.objectives.gan.conditions import in_words
from pipeline.objectives.gan.evaluation import (
    COVERED,
    DIVERSITY,
    JUDGE,
    OF_REAL,
    PRECISION,
    QUALITY,
    RECALL,
)
from pipeline.objectives.gan.rows import ASKED, FRECHET, REALISM
from pipeline.objectives.generated.coherence import MADE, made_view
from pipeline.reports.content import Example
from pipeline.reports.media import Media, shown_media
from pipeline.reports.section import Group, Judgement, KeyFigure, Measure, Part, Targets
from pipeline.sample import KEY, LABEL, SHARD

DISTANCE = Measure(FRECHET, "Fréchet distance", "min")
ACROSS, DOWN = 8, 40  # values of a row of the grid, and rows
PAIRS = {
    QUALITY: "Fréchet distance, of halves",
    PRECISION: "Precision: made values among real ones",
    RECALL: "Recall: real values among made ones",
}
EXTREMES = "By the discriminator: the least real, then the most real"


class GanSection:
    """See :class:`pipeline.reports.section.Section`.

    Args:
        score: What chose the epoch that was kept.
    """

    measure = DISTANCE
    titles: Mapping[str, str] = {
        FRECHET: DISTANCE.title,
        DIVERSITY: "Diversity over that of real values",
        JUDGE + DIVERSITY: "Diversity over that of real values, by the judge's features",
        COVERED: "Answers of the judge that some value got that was to",
        REALISM: "Mean logit of the discriminator",
        **PAIRS,
        **{name + OF_REAL: f"{title}; real ones instead" for name, title in PAIRS.items()},
        **{JUDGE + name: f"{title}, by the judge's features" for name, title in PAIRS.items()},
    }
    curves: Mapping[str, str] = {
        DISTANCE.title: FRECHET,
        "Loss of the discriminator": "discriminator_loss",
        "Loss of the generator": "generator_loss",
        "What the discriminator tells right": "right",
    }

    def __init__(self, score: Score) -> None:
        self.score = score

    def figures(self, evaluation: EvaluationRecord) -> list[KeyFigure]:
        overall = evaluation.overall
        kinds = {FRECHET: "number", PRECISION: "percent", RECALL: "percent", DIVERSITY: "percent"}
        return [
            KeyFigure(
                self.titles[name].partition(":")[0], value, kind, ends=overall.interval_of(name)
            )
            for name, kind in kinds.items()
            if (value := overall.metrics.get(name)) is not None
        ]

    def lede(self, evaluation: EvaluationRecord) -> Part | None:
        metrics = evaluation.overall.metrics
        if metrics.get(FRECHET) is None:
            return None
        values = {
            "quality": metrics.get(QUALITY),
            "of_real": metrics.get(QUALITY + OF_REAL),
            "diversity": metrics.get(DIVERSITY),
            "num_samples": evaluation.overall.num_samples,
            "split": evaluation.split,
        }
        return Part("objectives/gan/lede.html", values)

    def reference(self, evaluation: EvaluationRecord) -> tuple[float, str] | None:
        return None

    def metrics(self, evaluation: EvaluationRecord, predicted: pa.Table | None) -> Part | None:
        overall = evaluation.overall
        made = None if predicted is None else _made_column(predicted)
        content = {
            "pairs": [
                (
                    title + by,
                    overall.metrics[which + name],
                    overall.metrics.get(which + name + OF_REAL),
                )
                for which, by in (
                    ("", ", by random features"),
                    (JUDGE, ", by the judge's features"),
                )
                for name, title in PAIRS.items()
                if which + name in overall.metrics
            ],
            "alone": [
                (self.titles[name], overall.metrics[name], overall.interval_of(name))
                for name in (FRECHET, DIVERSITY, JUDGE + DIVERSITY, COVERED, REALISM)
                if name in overall.metrics
            ],
            "made": made_view(evaluation.details.get(MADE)),
            "undefined": [
                (self.titles.get(name, name), words)
                for name, words in (overall.undefined or {}).items()
            ],
            "grid": [] if predicted is None or made is None else _grid(predicted, made),
            "extremes": [] if predicted is None or made is None else _extremes(predicted, made),
            "extremes_title": EXTREMES,
        }
        return Part("objectives/gan/metrics.html", content)

    def targets(self, splits: Mapping[str, Mapping[str, int]]) -> Targets:
        return Targets(
            columns=[("Different conditions", 0)],
            rows={name: [len(counts)] for name, counts in splits.items()},
        )

    def label(self, text: str) -> str:
        return in_words(text)

    def choose(
        self, predicted: pa.Table, evaluation: EvaluationRecord, count: int
    ) -> list[Judgement]:
        """What was least real to the discriminator, then what was most."""
        logits = predicted[REALISM].to_numpy()
        judgements = []
        for row in _ends(logits, count):
            label = predicted[LABEL][row].as_py() if LABEL in predicted.column_names else None
            judgements.append(
                Judgement(
                    shard=predicted[SHARD][row].as_py(),
                    key=predicted[KEY][row].as_py(),
                    label=in_words(label) if label else None,
                    prediction=f"logit of the discriminator {logits[row]:.2f}",
                )
            )
        return judgements

    def groups(self, examples: Sequence[Example]) -> list[Group]:
        return [Group(EXTREMES, list(examples))]


def _ends(values: np.ndarray, count: int) -> list[int]:
    """Rows of the lowest values, then of the highest."""
    order = np.argsort(values, kind="stable")
    lowest = order[:count]
    highest = order[::-1][: min(count, len(order) - len(lowest))]
    return [*lowest.tolist(), *highest.tolist()]


def _made_column(predicted: pa.Table) -> str | None:
    """The column of made values, where they are bytes that a page can show."""
    names = [name for name in predicted.column_names if name.startswith(GENERATED)]
    return next((name for name in names if pa.types.is_binary(predicted[name].type)), None)


def _grid(predicted: pa.Table, made: str) -> list[tuple[str, list[Media]]]:
    """What was asked for, in words -> some values that were made of it, each of another noise."""
    rows_by_asked: dict[str, list[int]] = {}
    for row, asked in enumerate(predicted[ASKED].to_pylist()):
        rows_by_asked.setdefault(in_words(asked), []).append(row)
    return [
        (words, _media(predicted, made, rows[:ACROSS]))
        for words, rows in sorted(rows_by_asked.items())[:DOWN]
    ]


def _extremes(predicted: pa.Table, made: str) -> list[tuple[str, list[Media]]]:
    logits = predicted[REALISM].to_numpy()
    rows = _ends(logits, ACROSS)
    halves = (("least real", rows[:ACROSS]), ("most real", rows[ACROSS:]))
    return [(title, _media(predicted, made, chosen)) for title, chosen in halves if chosen]


def _media(predicted: pa.Table, made: str, rows: Sequence[int]) -> list[Media]:
    cells = [predicted[made][row].as_py() for row in rows]
    return [
        item for cell in cells if cell is not None for item in shown_media({made: _shown(cell)})
    ]


def _shown(cell: bytes) -> Shown:
    """Made values are PNG or WAV."""
    return Shown("sound" if cell[:4] == b"RIFF" else "picture", cell)
