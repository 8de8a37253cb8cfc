"""The sealed bundle of a trained model: weights, description and tokenizer, none of which can carry code."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from pydantic import JsonValue, ValidationError

from pipeline import storage
from pipeline.errors import ModelError, in_words
from pipeline.modalities import ModalitiesConfig
from pipeline.models.differences import differences, shown
from pipeline.models.record import SIZED_FOR, kept_epoch
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


MAX_SHOWN = 50  # values of a list that the model card shows


@dataclass(frozen=True)
class Bundle:
    """A trained model with its preprocessing.

    Attributes:
        objective: The objective's section of the configuration, as JSON.
        modalities: The preprocessing that the model was trained with.
        learned: What the objective has learned of the targets, as JSON.
        tokenizer: JSON of the tokenizer, None where there is no text.
        metrics: Metrics of the validation split at the epoch that was kept.
        training: How it was trained: settings, seed, versions.
        weights: Serialized weights (safetensors).
        format: Of ``bundle.json``: the one that it was read in, so that its fingerprint stays.
    """

    objective: Mapping[str, Any]
    modalities: ModalitiesConfig
    learned: Mapping[str, JsonValue]
    tokenizer: str | None
    metrics: Mapping[str, float]
    training: Mapping[str, Any]
    weights: bytes
    format: int = FORMAT

    @property
    def fingerprint(self) -> str:
        """Digest of all that the bundle holds: what predictions depend on, and what is said of them."""
        digest = blake2b(digest_size=16)
        digest.update(json.dumps(self._content(), sort_keys=True).encode())
        digest.update((self.tokenizer or "").encode())
        digest.update(self.weights)
        return digest.hexdigest()

    def _content(self) -> dict[str, Any]:
        """What ``bundle.json`` says, its fingerprint aside."""
        learned = dict(self.learned)
        return {
            "format": self.format,
            "objective": dict(self.objective),
            "modalities": self.modalities.decoding(
                exclude_none=False, filters=False, encoders="sealed"
            ),
            **(learned if self.format == FLAT_FORMAT else {"learned": learned}),
            "metrics": dict(self.metrics),
            "training": dict(self.training),
        }

    def save(self, folder: str) -> None:
        """Writes the bundle; ``bundle.json`` comes last and makes it whole."""
        manifest = {**self._content(), "fingerprint": self.fingerprint}
        storage.write_bytes(storage.join(folder, WEIGHTS), self.weights)
        if self.tokenizer is not None:
            storage.write_bytes(storage.join(folder, TOKENIZER), self.tokenizer.encode())
        storage.write_bytes(storage.join(folder, CARD), self.card().encode())
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
            bundle = cls(
                objective=manifest["objective"],
                modalities=modalities,
                learned=_learned(manifest),
                tokenizer=text.decode() if text is not None else None,
                metrics=manifest["metrics"],
                training=manifest["training"],
                weights=weights,
                format=manifest["format"],
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
        content = {name: value for name, value in manifest.items() if name != "fingerprint"}
        if manifest.get("fingerprint") != bundle.fingerprint or content != bundle._said():
            raise ModelError(
                "the bundle's files do not belong together: the fingerprint does not hold",
                where=folder,
                fix="copy the whole folder again, or train the model again",
            )
        return bundle

    def _said(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(json.dumps(self._content()))
        return content

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
        configured = configured.for_samples(self.sized_for)
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

    def card(self) -> str:
        """The model card, Markdown."""
        inputs = ", ".join(self.modalities.by_name())
        numbers = "\n".join(f"| {name} | {value:.4g} |" for name, value in self.metrics.items())
        return CARD_TEXT.format(
            kind=self.objective.get("kind"),
            inputs=inputs,
            learned="\n\n".join(_in_words(self.learned)),
            numbers=numbers,
            kept=kept_epoch(self.training.get("kept")) or "an epoch that is not known",
            fingerprint=self.fingerprint,
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


def _learned(manifest: Mapping[str, Any]) -> dict[str, JsonValue]:
    if manifest["format"] == FORMAT:
        return dict(manifest["learned"])
    common = ("format", "objective", "modalities", "metrics", "training", "fingerprint")
    return {name: value for name, value in manifest.items() if name not in common}


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
