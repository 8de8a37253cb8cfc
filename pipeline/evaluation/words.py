"""What a comparison comes to, in a sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.evaluation.significance import LEVEL

if TYPE_CHECKING:
    from pipeline.evaluation.comparison import Comparison, Number


def verdict(comparison: Comparison) -> str:
    """Whether the best network is better than the best baseline by more than chance; empty without one of either."""
    network = next((row for row in comparison.rows if not row.baseline), None)
    baseline = next((row for row in comparison.rows if row.baseline), None)
    if network is None or baseline is None:
        return ""
    names = {network.name, baseline.name}
    pair = next(pair for pair in comparison.pairs if {pair.first, pair.second} == names)
    numbers = " and ".join(
        f"{row.name} has {_text(row.metrics[comparison.metric].value)}"
        for row in (network, baseline)
    )
    metric = comparison.words(comparison.metric)
    sure = pair.p_corrected is not None and pair.p_corrected < LEVEL
    if pair.p is None and pair.interval is not None:
        sure = pair.interval[0] > 0 or pair.interval[1] < 0
    if not sure:
        return (
            f"No network here is clearly better than the best cheap baseline ({metric}: {numbers}): "
            "on these samples a network is not worth it yet."
        )
    if comparison.rows.index(network) > comparison.rows.index(baseline):
        return f"The best cheap baseline beats every network here ({metric}: {numbers})."
    return (
        f"The best network beats the best cheap baseline by more than chance ({metric}: {numbers})."
    )


def choice(comparison: Comparison) -> str:
    """Which network the validation split chooses, and what that one reaches; the others' numbers choose nothing."""
    valued = [row for row in comparison.rows if row.validation.value is not None]
    if not valued:
        return "No network has a score on a validation split, so none is chosen: set input.val."
    sign = 1 if comparison.validation_best == "max" else -1
    best = max(valued, key=lambda row: sign * (row.validation.value or 0.0))
    chosen_by, metric = comparison.words(comparison.validation), comparison.words(comparison.metric)
    return (
        f"The validation split chooses {best.name} (val {chosen_by} {_spread(best.validation)}), "
        f"which has {metric} {_spread(best.metrics[comparison.metric])} on {comparison.split}."
    )


def _spread(number: Number) -> str:
    spread = "" if number.deviation is None else f" ± {number.deviation:.3f}"
    return _text(number.value) + spread


def _text(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"
