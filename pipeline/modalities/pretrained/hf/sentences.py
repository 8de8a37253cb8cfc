"""Encoders of texts: how the states of their tokens become one embedding, as a folder of sentence-transformers says."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.errors import ModelError
from pipeline.modalities.pretrained.base import read_json, read_list

MODULES, POOLING = "modules.json", "pooling_mode"
MEAN, CLS, MAX = "mean", "cls", "max"
# Release 5 of sentence-transformers names the mode; those before have a flag for each.
FLAGS = {"mean_tokens": MEAN, "cls_token": CLS, "max_tokens": MAX}


@dataclass(frozen=True)
class Recipe:
    """How a text becomes an embedding.

    Attributes:
        folder: Of the network, in the model's folder.
        pooling: ``mean`` of the tokens' states, that of the first (``cls``), or their ``max``.
        normalize: Scales embeddings to length 1.
        max_tokens: Tokens kept; None leaves it to the network.
        lower: Puts texts in lower case.
        prompt: What is put before each text.
    """

    folder: str = ""
    pooling: str = MEAN
    normalize: bool = False
    max_tokens: int | None = None
    lower: bool = False
    prompt: str = ""

    @classmethod
    def read(cls, folder: Path) -> Recipe:
        """Reads modules.json; a folder without one has plain states, of which the mean is taken.

        Raises:
            ModelError: There are steps that are not known here.
        """
        modules = read_list(folder / MODULES)
        if not modules:
            return cls()
        steps = {str(step.get("type", "")).rpartition(".")[2]: step for step in modules}
        unknown = set(steps) - {"Transformer", "Pooling", "Normalize"}
        if unknown or "Transformer" not in steps:
            raise ModelError(
                f"the embedding has steps that are not known here: {', '.join(sorted(unknown)) or 'no Transformer'}",
                where=str(folder / MODULES),
                fix="choose a model of Transformer, Pooling and Normalize",
            )
        network = str(steps["Transformer"].get("path", ""))
        settings = read_json(folder / network / "sentence_bert_config.json")
        library_config = read_json(folder / "config_sentence_transformers.json")
        return cls(
            folder=network,
            pooling=_pooling(folder / str(steps.get("Pooling", {}).get("path", "")) / "config.json")
            if "Pooling" in steps
            else MEAN,
            normalize="Normalize" in steps,
            max_tokens=settings.get("max_seq_length"),
            lower=bool(settings.get("do_lower_case")),
            prompt=(library_config.get("prompts") or {}).get(
                library_config.get("default_prompt_name"), ""
            ),
        )


def _pooling(path: Path) -> str:
    config = read_json(path)
    chosen = config.get(POOLING)
    modes = [chosen] if isinstance(chosen, str) else list(chosen or ())
    modes = modes or [
        FLAGS.get(key.removeprefix(f"{POOLING}_"), key)
        for key, on in config.items()
        if key.startswith(f"{POOLING}_") and on
    ]
    if len(modes) != 1 or modes[0] not in (MEAN, CLS, MAX):
        raise ModelError(
            f"the pooling is not known here: {', '.join(map(str, modes)) or 'none'}",
            where=str(path),
            fix=f"choose a model with the pooling {MEAN}, {CLS} or {MAX}",
        )
    return modes[0]


class SentenceEncoder(nn.Module):
    """A network of tokens, and the pooling of their states.

    Args:
        model: Gives ``last_hidden_state`` (B, L, D).
        recipe: How it is pooled.
        names: Of the tensors that the tokenizer gives.

    Source: Reimers & Gurevych 2019 (arXiv:1908.10084), section 3.
    """

    def __init__(self, model: Any, recipe: Recipe, names: tuple[str, ...]) -> None:
        super().__init__()
        self.model = model
        self.recipe = recipe
        self.names = names

    def forward(self, *tokens: Tensor) -> Tensor:
        """(B, L) int64 each -> (B, D) float32."""
        inputs = dict(zip(self.names, tokens, strict=True))
        states: Tensor = self.model(**inputs).last_hidden_state.float()
        embedding = pool(states, inputs["attention_mask"].bool(), self.recipe.pooling)
        return functional.normalize(embedding, dim=1) if self.recipe.normalize else embedding


def pool(states: Tensor, mask: Tensor, mode: str) -> Tensor:
    """One embedding of the states of a text's tokens.

    Args:
        states: (B, L, D) float32.
        mask: (B, L) bool, True where a token is real.
        mode: ``mean``, ``cls`` or ``max``.

    Returns:
        (B, D) float32; zeros for a text without tokens.
    """
    real = mask.unsqueeze(-1)
    if mode == CLS:
        return states[:, 0] * real[:, 0]
    if mode == MAX:
        largest = states.masked_fill(~real, -torch.inf).amax(dim=1)
        return largest.masked_fill(~mask.any(dim=1, keepdim=True), 0)
    return (states * real).sum(dim=1) / real.sum(dim=1).clamp(min=1)
