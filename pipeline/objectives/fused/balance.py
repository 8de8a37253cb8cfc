"""What keeps one modality from drowning another while they are trained together: settings and coefficients."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from pipeline.modalities.section import Section

FUSED = "fused"  # the name of all modalities together; no modality's, whose losses have their name behind a line
LEAST_OVERFITTING = 1e-3  # nats; a gap between splits that has grown by less says nothing


class _Balance(Section):
    """Does nothing unless a kind does.

    Attributes:
        MODULATES: Whether gradients are changed.
        WATCHES_LOSSES: Whether the losses of modalities alone are noted, epoch by epoch.
    """

    MODULATES: ClassVar[bool] = False
    WATCHES_LOSSES: ClassVar[bool] = False

    @property
    def adds_noise(self) -> bool:
        """Whether gradients that were changed have noise added."""
        return False

    def loss_weights(
        self, history: Sequence[Mapping[str, float]], modalities: Sequence[str]
    ) -> dict[str, float]:
        """Shares of the loss, of ``fused`` and of each modality alone; empty where nothing is known yet."""
        return {}

    def coefficients(self, confidences: Mapping[str, float]) -> dict[str, float]:
        """Modality -> what the gradients of its encoder are multiplied by."""
        return {}


class NoBalance(_Balance):
    """Losses keep their weights, and gradients are as they are."""

    kind: Literal["none"] = "none"


class GradientBlending(_Balance):
    """Losses weigh the more they generalise, and the less they overfit, estimated anew now and then on `input.val`."""

    WATCHES_LOSSES = True

    kind: Literal["gradient_blending"] = "gradient_blending"
    epochs: Annotated[
        int, Field(ge=2, description="that training goes on before weights are estimated anew")
    ] = 5

    def loss_weights(
        self, history: Sequence[Mapping[str, float]], modalities: Sequence[str]
    ) -> dict[str, float]:
        """Those of the last whole stretch of ``epochs`` that gives any, the same where training was resumed."""
        last = len(history) // self.epochs * self.epochs
        for end in range(last, 0, -self.epochs):
            # The first stretch has no epoch before it, and is measured from its own first.
            before, after = history[max(0, end - self.epochs - 1)], history[end - 1]
            if weights := blending_weights(before, after, modalities):
                return weights
        return {}


class GradientModulation(_Balance):
    """Encoders of modalities that are surer than the others learn more slowly for a step, on the fly."""

    MODULATES = True

    kind: Literal["ogm_ge"] = "ogm_ge"
    alpha: Annotated[float, Field(ge=0, description="how much more slowly")] = 0.3
    noise: Annotated[
        bool, Field(description="adds noise of the gradients' own deviation to what was slowed")
    ] = True

    @property
    def adds_noise(self) -> bool:
        """As configured."""
        return self.noise

    def coefficients(self, confidences: Mapping[str, float]) -> dict[str, float]:
        """Of each modality that the batch has; see :func:`modulation`."""
        return modulation(confidences, self.alpha)


BalanceConfig = Annotated[
    NoBalance | GradientBlending | GradientModulation, Field(discriminator="kind")
]


def blending_weights(
    before: Mapping[str, float], after: Mapping[str, float], modalities: Sequence[str]
) -> dict[str, float]:
    """Shares of the losses of all modalities together and of each alone, from two epochs.

    Each is in proportion to its generalisation, by how much the validation loss fell, over the square of its
    overfitting, by how much the gap between validation and training loss grew. What has not generalised has no
    share; where nothing has, or a loss is not known, no shares are given.

    Args:
        before: Row of the earlier epoch: ``train_loss``, ``val_loss``, and with ``_NAME`` those of modalities.
        after: Row of the later one.
        modalities: Their names.

    Returns:
        ``fused`` and each modality -> share; they sum to 1.

    Source:
        Wang, Tran, Feiszli 2020, "What makes training multi-modal classification networks hard?" (online
        gradient blending).
    """
    columns = {FUSED: "loss", **{name: f"loss_{name}" for name in modalities}}
    values: dict[str, float] = {}
    for name, column in columns.items():
        train, val = f"train_{column}", f"val_{column}"
        if not all(key in row for key in (train, val) for row in (before, after)):
            return {}
        generalisation = before[val] - after[val]
        overfitting = (after[val] - after[train]) - (before[val] - before[train])
        values[name] = max(0.0, generalisation) / max(LEAST_OVERFITTING, abs(overfitting)) ** 2
    total = sum(values.values())
    if not 0 < total < math.inf:
        return {}
    return {name: value / total for name, value in values.items()}


def modulation(confidences: Mapping[str, float], alpha: float) -> dict[str, float]:
    """Coefficients of the gradients of each modality's encoder, at most 1.

    Args:
        confidences: Modality -> mean probability, from it alone, of what is right.
        alpha: 0 changes nothing.

    Returns:
        Modality -> 1 - tanh(alpha r), where r, its confidence over the mean of the others', is above 1; else 1.

    Source:
        Peng, Wei, Deng, Wang, Hu 2022, "Balanced multimodal learning via on-the-fly gradient modulation",
        with the mean of the others where there are more than two modalities.
    """
    coefficients = {}
    for name, confidence in confidences.items():
        others = [value for other, value in confidences.items() if other != name]
        rival = sum(others) / max(1, len(others))
        is_ahead = bool(others) and confidence > rival
        ratio = confidence / max(rival, 1e-12)
        coefficients[name] = 1.0 - math.tanh(alpha * ratio) if is_ahead else 1.0
    return coefficients
