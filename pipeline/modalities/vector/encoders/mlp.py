"""A perceptron over a whole vector."""

from __future__ import annotations

from torch import Tensor, nn

from pipeline.modalities.layers import Features, perceptron
from pipeline.modalities.moments import Moments
from pipeline.modalities.vector.encoders.standardize import Standardize


class VectorMlp(nn.Module):
    """All values of a vector to one token.

    Args:
        standardize: The first layer.
        width: D, channels of the token.
        layers: Hidden layers.
        hidden: Their width.
        dropout: Behind each of them.
    """

    def __init__(
        self, standardize: Standardize, width: int, layers: int, hidden: int, dropout: float
    ) -> None:
        super().__init__()
        self.standardize = standardize
        size = 2 * standardize.num_steps * standardize.num_channels
        self.layers = nn.Sequential(*perceptron(size, width, layers, hidden, dropout))
        self.norm = nn.LayerNorm(width)

    def fit(self, moments: Moments) -> None:
        """Takes over the training set's mean and deviation."""
        self.standardize.fit(moments)

    def forward(self, values: Tensor) -> Features:
        """Encodes vectors.

        Args:
            values: float32 (B, 2, *shape): the values, and 1 where one is real.

        Returns:
            Features of one token, real where any value is.
        """
        steps = self.standardize(values)
        tokens = self.norm(self.layers(steps.inputs.flatten(1)))
        return Features(tokens[:, None], steps.mask.any(dim=1, keepdim=True))
