"""What a network of transformers is built from without its folder."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

import transformers

from pipeline.modalities.pretrained.hf.sentences import Recipe


@dataclass(frozen=True)
class DualTokens:
    """How the text network of a dual encoder is given its tokens.

    Attributes:
        pad_id: The id of no token.
        length: What all texts are padded to (L); None where the network looks at its mask alone.
        has_mask: Whether it is told which tokens are real.
    """

    pad_id: int
    length: int | None
    has_mask: bool


@dataclass(frozen=True)
class Architecture:
    """What a network is built from without its folder.

    Attributes:
        kind: Of its configuration, as transformers names it.
        config: Its configuration, JSON.
        recipe: How its states become an embedding.
        tokens: Of the text network of a dual encoder; None for all others.
        features: Settings of the feature extractor of a network of sounds, JSON; empty for all others.
    """

    kind: str
    config: str
    recipe: Recipe
    tokens: DualTokens | None = None
    features: str = ""

    def to_json(self) -> str:
        """One line, the same for the same network."""
        tree = {"kind": self.kind, "config": json.loads(self.config), "recipe": asdict(self.recipe)}
        if self.tokens is not None:
            tree["tokens"] = asdict(self.tokens)
        if self.features:
            tree["features"] = json.loads(self.features)
        return json.dumps(tree, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Architecture:
        """What :meth:`to_json` made, of this version or an earlier one."""
        tree = json.loads(text)
        return cls(
            tree["kind"],
            json.dumps(tree["config"]),
            Recipe(**tree["recipe"]),
            DualTokens(**tree["tokens"]) if "tokens" in tree else None,
            json.dumps(tree["features"]) if "features" in tree else "",
        )

    def build(self) -> Any:
        """The network, with weights by chance; of code that transformers has, and of no other."""
        settings = json.loads(self.config)
        settings.pop("auto_map", None)
        settings.pop("model_type", None)
        config = transformers.AutoConfig.for_model(self.kind, **settings)
        return transformers.AutoModel.from_config(config, trust_remote_code=False).eval()

    def extractor(self) -> Any:
        """The feature extractor of a network of sounds."""
        return transformers.ClapFeatureExtractor.from_dict(json.loads(self.features))
