"""The sealed bundle of a trained model: weights, description and tokenizer, none of which can carry code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from pipeline import storage
from pipeline.errors import ModelError, in_words
from pipeline.modalities import ModalitiesConfig

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = 1
WEIGHTS, MANIFEST, TOKENIZER, CARD = (
    "weights.safetensors",
    "bundle.json",
    "tokenizer.json",
    "README.md",
)


@dataclass(frozen=True)
class Bundle:
    """A trained model with its preprocessing.

    Attributes:
        objective: The objective's section of the configuration, as JSON.
        modalities: The preprocessing that the model was trained with.
        classes: Class names, in the order of the probabilities.
        tokenizer: JSON of the tokenizer, None where there is no text.
        metrics: Metrics of the validation split at the epoch that was kept.
        training: How it was trained: settings, seed, versions.
        weights: Serialized weights (safetensors).
    """

    objective: Mapping[str, Any]
    modalities: ModalitiesConfig
    classes: tuple[str, ...]
    tokenizer: str | None
    metrics: Mapping[str, float]
    training: Mapping[str, Any]
    weights: bytes

    @property
    def fingerprint(self) -> str:
        """Digest of everything that predictions depend on."""
        digest = blake2b(digest_size=16)
        digest.update(json.dumps(self._architecture(), sort_keys=True).encode())
        digest.update((self.tokenizer or "").encode())
        digest.update(self.weights)
        return digest.hexdigest()

    def _architecture(self) -> dict[str, Any]:
        return {
            "objective": dict(self.objective),
            "modalities": self.modalities.decoding(exclude_none=False, filters=False),
            "classes": list(self.classes),
        }

    def save(self, folder: str) -> None:
        """Writes the bundle; ``bundle.json`` comes last and makes it whole."""
        manifest = {
            "format": FORMAT,
            **self._architecture(),
            "metrics": dict(self.metrics),
            "training": dict(self.training),
            "fingerprint": self.fingerprint,
        }
        storage.write_bytes(storage.join(folder, WEIGHTS), self.weights)
        if self.tokenizer is not None:
            storage.write_bytes(storage.join(folder, TOKENIZER), self.tokenizer.encode())
        storage.write_bytes(storage.join(folder, CARD), self.card().encode())
        text = json.dumps(manifest, indent=2, ensure_ascii=False)
        storage.write_bytes(storage.join(folder, MANIFEST), text.encode())

    @classmethod
    def load(cls, folder: str) -> Bundle:
        """Reads a bundle; runs no code from it.

        Raises:
            ModelError: There is no bundle, or it is damaged.
        """
        try:
            manifest = json.loads(storage.read_bytes(storage.join(folder, MANIFEST)))
            weights = storage.read_bytes(storage.join(folder, WEIGHTS))
            modalities = ModalitiesConfig.model_validate(manifest["modalities"])
            needs_tokenizer = modalities.text is not None
            text = storage.read_bytes(storage.join(folder, TOKENIZER)) if needs_tokenizer else None
            bundle = cls(
                objective=manifest["objective"],
                modalities=modalities,
                classes=tuple(manifest["classes"]),
                tokenizer=text.decode() if text is not None else None,
                metrics=manifest["metrics"],
                training=manifest["training"],
                weights=weights,
            )
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
        if manifest.get("fingerprint") != bundle.fingerprint:
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

    def check_modalities(self, configured: ModalitiesConfig, where: str) -> None:
        """Compares a configuration's preprocessing with the bundle's own.

        Filters are the job's affair and not compared: a bundle holds none, and a model that was trained without blank
        images may be asked about one.

        Raises:
            ModelError: They differ; names the setting.
        """
        ours = self.modalities.decoding(filters=False)
        theirs = configured.decoding(filters=False)
        for name in sorted({*ours, *theirs}):
            left, right = ours.get(name), theirs.get(name)
            if left is None or right is None:
                verb = "was not trained with" if left is None else "needs"
                raise ModelError(
                    f"the model {verb} modalities.{name}",
                    where=where,
                    fix=f"use the modalities of the bundle: {', '.join(ours)}",
                )
            for setting in sorted(left):
                if setting != "fields" and left[setting] != right.get(setting):
                    raise ModelError(
                        f"modalities.{name}.{setting} is {right.get(setting)} in the configuration "
                        f"and {left[setting]} in the model",
                        where=where,
                        fix=f"set modalities.{name}.{setting}={left[setting]}",
                    )

    def card(self) -> str:
        """The model card, Markdown."""
        inputs = ", ".join(self.modalities.by_name())
        numbers = "\n".join(f"| {name} | {value:.4g} |" for name, value in self.metrics.items())
        classes = ", ".join(self.classes[:50]) + (" ..." if len(self.classes) > 50 else "")
        return CARD_TEXT.format(
            kind=self.objective.get("kind"),
            inputs=inputs,
            classes=classes,
            num_classes=len(self.classes),
            numbers=numbers,
            fingerprint=self.fingerprint,
        )


CARD_TEXT = """# Model card

A `{kind}` model over {inputs}; any subset of them may be given.

**Classes ({num_classes}).** {classes}

**Validation, at the epoch that was kept**

| metric | value |
| --- | --- |
{numbers}

The metrics say how it does on data like its validation split, and nothing of other data. Its errors by class and by
modality are in the run's report.

Files: `weights.safetensors`, `bundle.json` (architecture, preprocessing, labels), and `tokenizer.json` where it reads
text. Loading them runs no code. Fingerprint `{fingerprint}`.
"""
