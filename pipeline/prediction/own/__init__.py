"""A person's own predictor, ``infer.model: python:package.module:Class``: what its class has, and how it is called.

Nothing here imports torch but :mod:`.runner`: a class is asked what it takes and gives before it loads anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa

from pipeline.errors import ConfigError, ModelError, PipelineError, in_words
from pipeline.modalities.inputs import Input
from pipeline.plugins import KIND, imported_with, line_of

if TYPE_CHECKING:
    import torch
    from torch import Tensor

PREFIX = f"{KIND}:"
METHODS = ("inputs", "columns", "load", "predict")
NOUN = "a predictor"
Values = Sequence[object]
WHERE = "infer.model"


class OwnPredictor(Protocol):
    """What a class named by ``infer.model`` has; it need not be derived from this one.

    It is made with ``infer.settings`` as keyword arguments, wherever a job asks what it takes and gives; only the
    processes that predict call :meth:`load`, once, and then :meth:`predict`, one call at a time.
    """

    def inputs(self) -> Mapping[str, Input | None]:
        """Name of a modality of the configuration -> how it is decoded; None decodes it as it is configured.

        See :mod:`pipeline.modalities.inputs`. Modalities that are not named are not decoded.
        """

    def columns(self) -> Mapping[str, pa.DataType]:
        """The columns that it writes, and their types; one called ``embedding`` is a list of float32 of one length."""

    def load(self, device: torch.device, weights: Path | None) -> None:
        """Loads the network.

        Args:
            device: Where tensors of a batch will lie.
            weights: ``infer.weights``; None where that is not set.
        """

    def predict(self, batch: Mapping[str, Tensor | list[str]]) -> Mapping[str, Values]:
        """Predicts B samples, without gradients.

        Args:
            batch: Modality -> tensor (B, ...) on the device, or B texts; what a sample lacks is zeros, or an empty
                text. ``NAME_present`` (B,) bool says which have it.

        Returns:
            Every column -> B values: a tensor or an array (B, ...), or a list, with None where there is no value.
        """


def is_own(model: str) -> bool:
    """Whether a model's name is that of a person's own predictor."""
    return model.startswith(PREFIX)


def predictor_class(model: str) -> type:
    """The class that ``python:package.module:Class`` names.

    Raises:
        ValueError: It cannot be imported, or lacks a method of :class:`OwnPredictor`.
    """
    return imported_with(model.removeprefix(PREFIX), METHODS, NOUN)


def with_all_methods(model: str) -> str:
    """The name itself.

    Raises:
        ValueError: It is that of a class which is no predictor.
    """
    if is_own(model):
        predictor_class(model)
    return model


def made(model: str, settings: Mapping[str, Any]) -> OwnPredictor:
    """A predictor with these settings, not loaded.

    Raises:
        ConfigError: The class is none, or does not take the settings.
    """
    try:
        chosen = predictor_class(model)
    except ValueError as error:
        raise ConfigError(str(error), where=WHERE) from None
    with own_code(model, "__init__", error=ConfigError, fix="check infer.settings"):
        predictor: OwnPredictor = chosen(**settings)
    return predictor


@contextmanager
def own_code(
    model: str,
    method: str,
    *,
    error: type[PipelineError] = ModelError,
    place: Callable[[], str] = str,
    fix: str = "mend it there, and run the job again",
) -> Iterator[None]:
    """What a person's method raises is told with the line of theirs that it came from.

    Args:
        model: ``python:package.module:Class``.
        method: Which is called.
        error: What is raised instead.
        place: Says which samples were at hand.
        fix: What the reader can do.
    """
    class_name = model.removeprefix(PREFIX)
    try:
        yield
    except PipelineError:
        raise
    except Exception as raised:
        line = line_of(raised, class_name.partition(":")[0])
        where = ", ".join(filter(None, (line or WHERE, place())))
        words, name = in_words(raised), type(raised).__name__
        what = f"{class_name}.{method} failed: {words if name in words else f'{name}: {words}'}"
        raise error(what, where=where, fix=fix) from raised
