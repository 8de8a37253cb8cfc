"""The sealed bundle of a trained model: weights, description and tokenizer, none of which can carry code."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from pydantic import JsonValue, ValidationError

from pipeline import storage
from pipeline.errors import ModelError, in_words
from pipeline.modalities import ModalitiesConfig
from pipeline.models.card import card
from pipeline.models.differences import differences, shown
from pipeline.models.record import SIZED_FOR
from pipeline.plugins import CLASS, KIND, SETTINGS, class_names

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = 3
# In this one, what was learned lies between the other keys rather than below one of its own.
FLAT_FORMAT = 2
WEIGHTS, MANIFEST, TOKENIZER, CARD = (
    "weights.safetensors",
    "bundle.json",
    "tokenizer.json",
    "README.md",
)


@dataclass(frozen=True)
class Bundle:
    """A trained model with its preprocessing.

    What it is known by is its description as it was written: a setting that was not there yet, and has its default
    since, changes nothing of it.

    Attributes:
        description: What ``bundle.json`` says, the fingerprint aside, as JSON.
        modalities: The preprocessing that the model was trained with, as the description says it; what it does not say
            has its default.
        tokenizer: JSON of the tokenizer, None where there is no text.
        weights: Serialized weights (safetensors).
    """

    description: Mapping[str, Any]
    modalities: ModalitiesConfig
    tokenizer: str | None
    weights: bytes

    @classmethod
    def of(
        cls,
        *,
        objective: Mapping[str, Any],
        modalities: ModalitiesConfig,
        learned: Mapping[str, JsonValue],
        tokenizer: str | None,
        weights: bytes,
        metrics: Mapping[str, float] | None = None,
        training: Mapping[str, Any] | None = None,
    ) -> Bundle:
        """The bundle of a model that was trained now.

        Args:
            objective: The objective's section of the configuration, as JSON.
            modalities: The preprocessing that the model was trained with.
            learned: What the objective has learned of the targets, as JSON.
            tokenizer: JSON of the tokenizer, None where there is no text.
            weights: Serialized weights (safetensors).
            metrics: Metrics of the validation split at the epoch that was kept.
            training: How it was trained: settings, seed, versions.
        """
        description = {
            "format": FORMAT,
            "objective": objective,
            "modalities": modalities.decoding(exclude_none=False, filters=False, encoders="sealed"),
            "learned": learned,
            "metrics": metrics or {},
            "training": training or {},
        }
        return cls(json.loads(json.dumps(description)), modalities, tokenizer, weights)

    @property
    def objective(self) -> Mapping[str, Any]:
        """The objective's section of the configuration, as JSON."""
        section: Mapping[str, Any] = self.description["objective"]
        return section

    @property
    def learned(self) -> Mapping[str, JsonValue]:
        """What the objective has learned of the targets, as JSON."""
        if self.description["format"] == FORMAT:
            learned: Mapping[str, JsonValue] = self.description["learned"]
            return learned
        common = ("format", "objective", "modalities", "metrics", "training")
        return {name: value for name, value in self.description.items() if name not in common}

    @property
    def metrics(self) -> Mapping[str, float]:
        """Metrics of the validation split at the epoch that was kept."""
        metrics: Mapping[str, float] = self.description["metrics"]
        return metrics

    @property
    def training(self) -> Mapping[str, Any]:
        """How it was trained: settings, seed, versions."""
        training: Mapping[str, Any] = self.description["training"]
        return training

    @property
    def fingerprint(self) -> str:
        """Digest of all that the bundle holds: what predictions depend on, and what is said of them."""
        digest = blake2b(digest_size=16)
        digest.update(json.dumps(self.description, sort_keys=True).encode())
        digest.update((self.tokenizer or "").encode())
        digest.update(self.weights)
        return digest.hexdigest()

    def save(self, folder: str) -> None:
        """Writes the bundle; ``bundle.json`` comes last and makes it whole."""
        manifest = {**self.description, "fingerprint": self.fingerprint}
        storage.write_bytes(storage.join(folder, WEIGHTS), self.weights)
        if self.tokenizer is not None:
            storage.write_bytes(storage.join(folder, TOKENIZER), self.tokenizer.encode())
        storage.write_bytes(storage.join(folder, CARD), card(self).encode())
        text = json.dumps(manifest, indent=2, ensure_ascii=False)
        storage.write_bytes(storage.join(folder, MANIFEST), text.encode())

    @classmethod
    def load(cls, folder: str, plugged: Collection[str] = ()) -> Bundle:
        """Reads a bundle; runs no code from it, and imports no class for it that nobody else names.

        Args:
            folder: Where it lies.
            plugged: Names of classes that may be imported; see :func:`pipeline.plugins.class_names`.

        Raises:
            ModelError: There is no bundle, or it is damaged.
        """
        try:
            manifest = json.loads(storage.read_bytes(storage.join(folder, MANIFEST)))
            if manifest["format"] not in (FLAT_FORMAT, FORMAT):
                raise ModelError(
                    f"the bundle has format {manifest['format']}, "
                    f"and this version reads {FLAT_FORMAT} and {FORMAT}",
                    where=folder,
                    fix="train the model again",
                )
            check_classes(manifest, plugged, folder)
            weights = storage.read_bytes(storage.join(folder, WEIGHTS))
            modalities = ModalitiesConfig.model_validate(manifest["modalities"])
            needs_tokenizer = bool(modalities.tokenized())
            text = storage.read_bytes(storage.join(folder, TOKENIZER)) if needs_tokenizer else None
            fingerprint = manifest.pop("fingerprint", None)
            bundle = cls(manifest, modalities, None if text is None else text.decode(), weights)
        except FileNotFoundError as error:
            missing = str(error.filename or error).rpartition("/")[2]
            raise ModelError(
                f"no model bundle: {missing} is missing",
                where=folder,
                fix="train one with `python -m jobs.train`, or set infer.model",
            ) from None
        except (ValueError, KeyError, TypeError, ValidationError) as error:
            raise ModelError(
                f"bundle.json cannot be read: {type(error).__name__}",
                where=folder,
                fix="train the model again",
            ) from None
        if fingerprint != bundle.fingerprint:
            raise ModelError(
                "the bundle's files do not belong together: the fingerprint does not hold",
                where=folder,
                fix="copy the whole folder again, or train the model again",
            )
        return bundle

    def state(self) -> dict[str, Tensor]:
        """The weights, name -> tensor."""
        from safetensors import SafetensorError
        from safetensors.torch import load

        try:
            return load(self.weights)
        except SafetensorError as error:
            raise ModelError(
                f"{WEIGHTS} is damaged: {in_words(error)}", fix="train the model again"
            ) from None

    @property
    def sized_for(self) -> int | None:
        """Training samples that settings were chosen for which nobody had said; None where they were taken as is."""
        count: int | None = self.training.get("recipe", {}).get(SIZED_FOR)
        return count

    def check_modalities(self, configured: ModalitiesConfig, where: str) -> None:
        """Compares a configuration's preprocessing with the bundle's own.

        Filters are the job's affair and not compared: a bundle holds none, and a model that was trained without blank
        images may be asked about one.

        Raises:
            ModelError: They differ; names the setting.
        """
        configured = configured.for_samples(self.sized_for, self.modalities)
        ours = self.modalities.decoding(filters=False, encoders="identity")
        theirs = configured.decoding(filters=False, encoders="identity")
        for name in sorted({*ours, *theirs}):
            left, right = ours.get(name), theirs.get(name)
            if left is None or right is None:
                verb = "was not trained with" if left is None else "needs"
                raise ModelError(
                    f"the model {verb} modalities.{name}",
                    where=where,
                    fix=f"use the modalities of the bundle: {', '.join(ours)}",
                )
            for setting, ours_of_it, theirs_of_it in differences(f"modalities.{name}", left, right):
                if setting not in (
                    f"modalities.{name}.fields",
                    f"modalities.{name}.{SETTINGS}.fields",
                ):
                    raise ModelError(
                        f"{setting} is {shown(theirs_of_it)} in the configuration "
                        f"and {shown(ours_of_it)} in the model",
                        where=where,
                        fix=f"set {setting}={shown(ours_of_it)}",
                    )


def check_classes(manifest: Mapping[str, Any], plugged: Collection[str], folder: str) -> None:
    """Refuses a bundle that names a class which nobody else names, before anything is imported for it.

    Args:
        manifest: The content of ``bundle.json``.
        plugged: Classes of the configuration, or those that the caller of ``load_model`` names.
        folder: Where the bundle lies.

    Raises:
        ModelError: It names another.
    """
    sections = {"objective": manifest["objective"]}
    sections |= {f"modalities.{name}": tree for name, tree in manifest["modalities"].items()}
    for setting, section in sections.items():
        for name in class_names(section):
            if name not in plugged:
                raise ModelError(
                    f"the model needs the class {name}, which is imported only where you name it",
                    where=folder,
                    fix=f"if you trust it, set {setting}.kind={KIND} and {setting}.{CLASS}={name}; in Python, "
                    f"load_model(..., trusted=[{name!r}])",
                )
