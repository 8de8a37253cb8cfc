"""A pretrained network within a model: what of it is trained, and the linear layer behind it."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from pipeline.errors import ConfigError
from pipeline.modalities.layers import Features
from pipeline.modalities.pretrained.towers import Tower

# Of a network's weights, that an element of its lists of layers has at least to count as a block: not a lone norm.
BLOCK_SHARE = 0.005


class PretrainedEncoder(nn.Module):
    """A pretrained network, and a linear layer that makes one token of its embedding.

    Weights that are not trained need no gradient, and no optimizer sees them. Norms over a batch keep the statistics
    that they came with, and blocks that are not trained are without dropout.

    Args:
        tower: Encodes a batch of the codec's values to (B, D').
        tower_width: D'.
        width: D, channels of the token.
        trainable_blocks: How many of its last blocks are trained, with all that is behind them.
        learning_rate_factor: Of the optimizer's learning rate, for them.

    Attributes:
        takes_embeddings: See :class:`pipeline.modalities.facets.Frozen`.
        embedding_width: D'.

    Raises:
        ConfigError: It has fewer blocks.
    """

    takes_embeddings = False

    def __init__(
        self,
        tower: Tower,
        tower_width: int,
        width: int,
        trainable_blocks: int | Literal["all"],
        learning_rate_factor: float,
    ) -> None:
        super().__init__()
        self.tower = tower
        tower.learning_rate_factor = learning_rate_factor
        train_last_blocks(tower, trainable_blocks)
        self.is_trained = any(parameter.requires_grad for parameter in tower.parameters())
        self.embedding_width = tower_width
        self.norm_pooled = nn.LayerNorm(tower_width)
        self.project = nn.Linear(tower_width, width)
        self.norm = nn.LayerNorm(width)

    def train(self, mode: bool = True) -> PretrainedEncoder:
        """Puts what is trained into training mode, and nothing else of the network."""
        super().train(mode)
        _set_mode(self.tower, mode, self.is_trained)
        return self

    def forward(self, values: Tensor) -> Features:
        """Encodes a batch.

        Args:
            values: What the codec collates, (B, ...); the embeddings (B, D') where it takes these.

        Returns:
            Features of one token; all real.
        """
        pooled = values if self.takes_embeddings else self.embed(values)
        pooled = self.norm_pooled(pooled.to(self.norm_pooled.weight.dtype))
        tokens = self.norm(self.project(pooled))[:, None]
        mask = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
        return Features(tokens, mask)

    def embed(self, values: Tensor) -> Tensor:
        """What the network from elsewhere makes of a batch: (B, ...) -> (B, D')."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.is_trained):
            embedding: Tensor = self.tower(values)
        return embedding


def train_last_blocks(network: nn.Module, count: int | Literal["all"]) -> None:
    """Lets the last blocks of a network be trained, and all that comes behind the first of them.

    Args:
        network: Lists its weights in the order of its computation, but for what a tower says of them.
        count: Of blocks; 0 lets none be trained, ``all`` the whole network.

    Raises:
        ConfigError: The network has fewer.
    """
    weights = _in_order(network)
    names = list(weights)
    first = 0 if count == "all" else len(names)
    if isinstance(count, int) and count:
        blocks = blocks_of(network)
        if count > len(blocks):
            raise ConfigError(
                f"the network has {len(blocks)} blocks, and {count} are to be trained",
                where="modalities.NAME.encoder.trainable_blocks",
                fix=f"set it to {len(blocks)} or less, or to all",
            )
        start = blocks[-count]
        first = next(place for place, name in enumerate(names) if name.startswith(f"{start}."))
    for place, parameter in enumerate(weights.values()):
        parameter.requires_grad_(place >= first)


def _in_order(network: nn.Module) -> dict[str, nn.Parameter]:
    """Weights by their paths, in the order of a tower's computation as far as it matters here."""
    before = getattr(network, "before_blocks", ())
    behind = getattr(network, "behind_blocks", ())
    weights = dict(network.named_parameters())
    ranks = {name: name.endswith(behind) - name.endswith(before) for name in weights}
    return {name: weights[name] for name in sorted(weights, key=ranks.__getitem__)}


def blocks_of(network: nn.Module) -> list[str]:
    """Paths of a network's blocks in their order: the elements of its outermost lists of layers."""
    return _blocks_in(network, BLOCK_SHARE * _num_weights(network))


def _blocks_in(module: nn.Module, least: float) -> list[str]:
    if isinstance(module, nn.Sequential | nn.ModuleList):
        return [name for name, block in module.named_children() if _num_weights(block) >= least]
    return [
        f"{name}.{path}"
        for name, child in module.named_children()
        for path in _blocks_in(child, least)
    ]


def _num_weights(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _set_mode(module: nn.Module, mode: bool, is_trained: bool) -> None:
    """Training mode for modules with weights that are trained, and for those without weights in them."""
    weights = list(module.parameters())
    is_trained = any(weight.requires_grad for weight in weights) if weights else is_trained
    is_batch_norm = isinstance(module, nn.modules.batchnorm._NormBase)
    module.training = mode and is_trained and not is_batch_norm
    for child in module.children():
        _set_mode(child, mode, is_trained)
