"""What every fusion of the union promises; a new one is tested the moment it is listed."""

from __future__ import annotations

from typing import Any, get_args

import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from pipeline.modalities.layers import Features
from pipeline.models.fusion import FusionConfig
from pipeline.models.fusion.distributions import Categorical

KINDS = [config.model_fields["kind"].default for config in get_args(get_args(FusionConfig)[0])]
TOKENS = {"image": 4, "text": 6, "audio": 3}
WIDTH = 32
BATCH = 8
CLASSES = 5

pytestmark = pytest.mark.parametrize("kind", KINDS)


class Fused(torch.nn.Module):
    """A fusion of features or of outputs, and its head: the latter do most of their work there."""

    def __init__(self, config: Any, modalities: tuple[str, ...]) -> None:
        super().__init__()
        self.fusion = config.build(WIDTH, modalities)
        self.head = config.head(WIDTH, CLASSES, modalities, Categorical())

    def forward(self, features: dict[str, Features]) -> torch.Tensor:
        return self.head(*self.vectors(features))

    def embedding(self, features: dict[str, Features]) -> torch.Tensor:
        return self.head.embedding(*self.vectors(features))

    def vectors(self, features: dict[str, Features]) -> tuple[torch.Tensor, torch.Tensor]:
        masks = [features[name].mask.any(dim=1) for name in self.fusion.modalities]
        return self.fusion(features), torch.stack(masks, dim=1)


def build(kind: str, modalities: tuple[str, ...] = tuple(TOKENS), **settings: Any) -> Fused:
    torch.manual_seed(0)
    config = TypeAdapter(FusionConfig).validate_python({"kind": kind, **settings})
    return Fused(config, modalities).eval()


def features(present: torch.Tensor | None = None) -> dict[str, Features]:
    """Features of a batch; ``present`` is bool (B, M)."""
    generator = torch.Generator().manual_seed(1)
    made = {}
    for i, (name, length) in enumerate(TOKENS.items()):
        tokens = torch.randn(BATCH, length, WIDTH, generator=generator)
        real = torch.ones(BATCH, length, dtype=torch.bool)
        real[::2, -1] = False  # every other sample is one token shorter
        made[name] = Features(tokens, real).where(
            torch.ones(BATCH, dtype=torch.bool) if present is None else present[:, i]
        )
    return made


def every_subset() -> torch.Tensor:
    """bool (8, 3): all subsets of three modalities, the empty one among them."""
    return (torch.arange(BATCH)[:, None] >> torch.arange(len(TOKENS))) % 2 == 1


def test_gives_one_embedding_per_sample_and_its_outputs(kind: str) -> None:
    fusion, batch = build(kind), features()
    for values, width in ((fusion.embedding(batch), WIDTH), (fusion(batch), CLASSES)):
        assert values.shape == (BATCH, width)
        assert values.dtype == torch.float32


@pytest.mark.parametrize("garbage", [1e6, float("nan"), float("inf")])
def test_what_is_masked_has_no_influence(kind: str, garbage: float) -> None:
    fusion = build(kind)
    clean = features(every_subset())
    spoiled = {
        name: Features(torch.where(part.mask[..., None], part.tokens, garbage), part.mask)
        for name, part in clean.items()
    }
    assert torch.equal(fusion(clean), fusion(spoiled))
    assert torch.equal(fusion.embedding(clean), fusion.embedding(spoiled))


def test_masked_tokens_are_as_if_they_were_not_there(kind: str) -> None:
    """Fusions that put zeros in their place would still give them weight, unless they are masked as well."""
    fusion = build(kind)
    batch = features(every_subset())
    longer = {
        name: Features(
            torch.cat([part.tokens, torch.randn(BATCH, 5, WIDTH)], dim=1),
            torch.cat([part.mask, torch.zeros(BATCH, 5, dtype=torch.bool)], dim=1),
        )
        for name, part in batch.items()
    }
    torch.testing.assert_close(fusion(longer), fusion(batch), rtol=1e-5, atol=1e-6)


def test_any_subset_of_modalities_is_finite_with_finite_gradients(kind: str) -> None:
    fusion = build(kind)
    batch = features(every_subset())
    tokens = {name: part.tokens.requires_grad_() for name, part in batch.items()}
    outputs = fusion(batch)
    assert torch.isfinite(outputs).all()
    assert torch.isfinite(fusion.embedding(batch)).all()
    outputs.log_softmax(dim=1)[:, 0].sum().backward()
    for name, part in tokens.items():
        assert part.grad is not None
        assert torch.isfinite(part.grad).all()
        assert (part.grad[~batch[name].mask] == 0).all()
    for name, parameter in fusion.named_parameters():
        # Also where nobody has the modality, so that data-parallel training needs no search for it.
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        # What all tokens' scores have in common makes no difference to a softmax.
        if not name.endswith("score.bias"):
            assert parameter.grad.abs().sum() > 0, name


def test_every_weight_is_in_the_graph_when_nobody_has_a_modality(kind: str) -> None:
    fusion = build(kind)
    present = torch.ones(BATCH, len(TOKENS), dtype=torch.bool)
    present[:, 1] = False
    fusion(features(present)).sum().backward()
    assert [name for name, value in fusion.named_parameters() if value.grad is None] == []


def test_every_modality_that_is_present_matters(kind: str) -> None:
    fusion = build(kind)
    present = torch.ones(BATCH, len(TOKENS), dtype=torch.bool)
    full = fusion(features(present))
    for i in range(len(TOKENS)):
        fewer = present.clone()
        fewer[:, i] = False
        assert ((fusion(features(fewer)) - full).abs().amax(dim=1) > 1e-6).all()


def test_neighbours_in_the_batch_have_no_influence(kind: str) -> None:
    fusion = build(kind)
    batch = features(every_subset())
    other = {
        name: Features(torch.cat([part.tokens[:1], part.tokens[1:] * 3 + 1]), part.mask)
        for name, part in batch.items()
    }
    assert torch.equal(fusion(batch)[0], fusion(other)[0])


def test_order_of_the_samples_does_not_matter(kind: str) -> None:
    fusion = build(kind)
    batch = features(every_subset())
    order = torch.randperm(BATCH, generator=torch.Generator().manual_seed(2))
    shuffled = {name: Features(*(values[order] for values in part)) for name, part in batch.items()}
    torch.testing.assert_close(fusion(shuffled), fusion(batch)[order], rtol=1e-5, atol=1e-6)


def test_order_of_the_features_does_not_matter(kind: str) -> None:
    fusion = build(kind)
    batch = features()
    assert torch.equal(fusion(batch), fusion(dict(reversed(batch.items()))))


def test_half_precision_is_finite_and_near(kind: str) -> None:
    fusion = build(kind)
    batch = features(every_subset())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = fusion(batch)
    any_present = every_subset().any(dim=1)
    torch.testing.assert_close(
        half.float().log_softmax(dim=1)[any_present],
        fusion(batch).log_softmax(dim=1)[any_present],
        rtol=0.1,
        atol=0.1,
    )
    assert torch.isfinite(half).all()


def test_one_modality_is_enough(kind: str) -> None:
    fusion = build(kind, ("text",))
    part = {"text": features(every_subset())["text"]}
    outputs = fusion(part)
    outputs.log_softmax(dim=1)[:, 0].sum().backward()
    assert torch.isfinite(outputs).all()
    for name, parameter in fusion.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
    assert len(outputs[every_subset()[:, 1]].unique(dim=0)) == 4, "the samples differ"


def test_settings_are_checked(kind: str) -> None:
    for wrong in ({"dropout": 1.5}, {"drop": 0.1}):
        with pytest.raises(ValidationError):
            TypeAdapter(FusionConfig).validate_python({"kind": kind, **wrong})
