"""The model card: what a person reads of a bundle."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from pydantic import JsonValue

from pipeline.models.record import kept_epoch

if TYPE_CHECKING:
    from pipeline.models.bundle import Bundle

MAX_SHOWN = 50  # values of a list that the card shows


def card(bundle: Bundle) -> str:
    """The model card, Markdown."""
    inputs = ", ".join(bundle.modalities.by_name())
    numbers = "\n".join(f"| {name} | {value:.4g} |" for name, value in bundle.metrics.items())
    return CARD_TEXT.format(
        kind=bundle.objective.get("kind"),
        inputs=inputs,
        learned="\n\n".join(_in_words(bundle.learned)),
        numbers=numbers,
        kept=kept_epoch(bundle.training.get("kept")) or "an epoch that is not known",
        fingerprint=bundle.fingerprint,
    )


def _in_words(learned: Mapping[str, JsonValue]) -> Iterator[str]:
    """What was learned, a paragraph each."""
    for name, value in learned.items():
        title = name.replace("_", " ").capitalize()
        values = value if isinstance(value, list) else [value]
        shown = ", ".join(map(str, values[:MAX_SHOWN]))
        more = " ..." if len(values) > MAX_SHOWN else ""
        yield f"**{title} ({len(values)}).** {shown}{more}"


CARD_TEXT = """# Model card

A `{kind}` model over {inputs}; any subset of them may be given.

{learned}

**Metrics of {kept}**

| metric | value |
| --- | --- |
{numbers}

The metrics say how it does on data like that which its epoch was chosen by, and nothing of other data. Its errors, by
modality too, are in the run's report.

Files: `weights.safetensors`, `bundle.json` (architecture, preprocessing, what it learned of its targets), and
`tokenizer.json` where it reads text. Loading them runs no code. Fingerprint `{fingerprint}`.
"""
