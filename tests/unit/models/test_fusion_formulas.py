"""The fusions against their formulas, one sample and one number at a time."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter
from torch import Tensor, nn

from pipeline.modalities.layers import Features
from pipeline.models.fusion import FusionConfig
from pipeline.models.fusion.base import perceptron

D = 4
NAMES = ("a", "b", "c")
LENGTHS = {"a": 2, "b": 3, "c": 1}
# Samples with all, two and one of the modalities; the last token of b is padding.
PRESENT = torch.tensor([[1, 1, 1], [1, 1, 0], [0, 1, 1], [1, 0, 0]], dtype=torch.bool)


def build(kind: str, width: int = D, **settings: Any) -> Any:
    torch.manual_seed(0)
    config = TypeAdapter(FusionConfig).validate_python({"kind": kind, **settings})
    fusion = config.build(width, NAMES).eval().double()
    for parameter in fusion.parameters():
        with torch.no_grad():
            parameter.add_(
                0.3 * torch.randn_like(parameter)
            )  # no zero, one or norm is left as it begins
    return fusion


def features(width: int = D) -> dict[str, Features]:
    generator = torch.Generator().manual_seed(1)
    made = {}
    for i, (name, length) in enumerate(LENGTHS.items()):
        tokens = torch.randn(len(PRESENT), length, width, generator=generator, dtype=torch.float64)
        real = torch.ones(len(PRESENT), length, dtype=torch.bool)
        real[:, 2:] = False
        made[name] = Features(tokens, real & PRESENT[:, i : i + 1])
    return made


def real_tokens(batch: dict[str, Features], row: int, name: str) -> Tensor:
    """(L, D), those that are there."""
    return batch[name].tokens[row][batch[name].mask[row]]


def test_low_rank_is_the_outer_product_through_the_whole_tensor() -> None:
    fusion, batch = build("low_rank", rank=3), features()
    vectors, _ = fusion.pools(batch)
    weights = torch.zeros(D + 1, D + 1, D + 1, D, dtype=torch.float64)
    for r, (i, j, k), d in product(range(3), product(range(D + 1), repeat=3), range(D)):
        a, b, c = fusion.factors[0, r, i, d], fusion.factors[1, r, j, d], fusion.factors[2, r, k, d]
        weights[i, j, k, d] += (fusion.rank_weights[r] * a * b * c).detach()
    for row, result in enumerate(fusion(batch)):
        a, b, c = ([*vector.tolist(), 1.0] for vector in vectors[row])
        for d in range(D):
            expected = fusion.bias[d].item() + sum(
                weights[i, j, k, d].item() * a[i] * b[j] * c[k]
                for i, j, k in product(range(D + 1), repeat=3)
            )
            assert result[d].item() == pytest.approx(expected, rel=1e-4, abs=1e-5)
    assert (vectors[~PRESENT] == 0).all(), "a missing modality leaves its one"


def test_gated_is_a_mean_of_tanh_with_a_softmax_of_gates() -> None:
    fusion, batch = build("gated"), features()
    vectors, _ = fusion.pools(batch)
    for row, result in enumerate(fusion(batch)):
        gates = fusion.gate(vectors[row].flatten()).tolist()
        hidden = [
            layer(vector).tolist()
            for layer, vector in zip(fusion.hidden, vectors[row], strict=True)
        ]
        for d in range(D):
            real = [m for m in range(3) if PRESENT[row, m]]
            total = sum(math.exp(gates[m * D + d]) for m in real)
            expected = sum(
                math.exp(gates[m * D + d]) / total * math.tanh(hidden[m][d]) for m in real
            )
            assert result[d].item() == pytest.approx(expected)


def test_film_scales_and_shifts_as_the_others_say() -> None:
    fusion, batch = build("film"), features()
    vectors, _ = fusion.conditions(batch)
    results = fusion(batch)
    for row in range(len(PRESENT)):
        pooled = []
        for m, name in enumerate(NAMES):
            if not PRESENT[row, m]:
                continue
            others = [n for n in range(3) if n != m and PRESENT[row, n]]
            said = [fusion.modulations[n](vectors[row, n]).tolist() for n in others]
            changed = []
            for token in real_tokens(batch, row, name):
                state = fusion.layers[m](fusion.norms[m](token)).tolist()
                new = token.tolist()
                for d in range(D):
                    gamma = 1.0 + (sum(s[d] for s in said) / len(said) if said else 0.0)
                    beta = sum(s[D + d] for s in said) / len(said) if said else 0.0
                    x = gamma * state[d] + beta
                    new[d] += x * 0.5 * (1 + math.erf(x / math.sqrt(2)))  # GELU
                changed.append(new)
            tokens = torch.tensor([changed], dtype=torch.float64)
            mask = torch.ones(1, len(changed), dtype=torch.bool)
            pooled.append(fusion.pools.pools[name](Features(tokens, mask))[0])
        expected = torch.stack(pooled).mean(dim=0)
        torch.testing.assert_close(results[row], expected, rtol=1e-6, atol=1e-8)


def attend(block: Any, asking: Tensor, seen: Tensor) -> Tensor:
    """One block without masks, batches or heads: tokens (Q, D) look at tokens (L, D)."""
    width = asking.shape[1]
    query = block.query(block.norm_attention(asking))
    key, value = block.key_value(block.norm_attention(seen)).split(width, dim=1)
    attended = []
    for q in query:
        scores = [math.exp((q @ k).item() / math.sqrt(width)) for k in key]
        attended.append(sum(s / sum(scores) * v for s, v in zip(scores, value, strict=True)))
    tokens = asking + block.project(torch.stack(attended))
    return tokens + block.perceptron(block.norm_perceptron(tokens))


def test_cross_attention_looks_at_the_real_tokens_of_the_others() -> None:
    fusion, batch = build("cross_attention", layers=2), features()
    results = fusion(batch)
    for row in range(len(PRESENT)):
        streams = {
            name: real_tokens(batch, row, name) + fusion.modality[m]
            for m, name in enumerate(NAMES)
            if PRESENT[row, m]
        }
        for blocks in fusion.layers:
            streams = {
                name: attend(
                    blocks[NAMES.index(name)],
                    tokens,
                    torch.cat([fusion.nothing[None], *(streams[o] for o in streams if o != name)]),
                )
                for name, tokens in streams.items()
            }
        vectors = []
        for m, name in enumerate(NAMES):
            if name in streams:
                tokens = streams[name][None]
                mask = torch.ones(tokens.shape[:2], dtype=torch.bool)
                vectors.append(fusion.pools.pools[name](Features(tokens, mask))[0])
            else:
                vectors.append(fusion.missing[m])
        expected = fusion.join(torch.cat(vectors))
        torch.testing.assert_close(results[row], expected, rtol=1e-6, atol=1e-8)


def test_bottleneck_exchanges_through_the_mean_of_the_shared_tokens() -> None:
    fusion, batch = build("bottleneck", layers=3, tokens=2), features()
    results = fusion(batch)
    for row in range(len(PRESENT)):
        here = [m for m in range(3) if PRESENT[row, m]]
        shared = fusion.shared
        own = {
            m: torch.cat([fusion.class_tokens[m][None], real_tokens(batch, row, NAMES[m])])
            for m in here
        }
        for blocks in fusion.layers:
            written = []
            for m in here:
                tokens = torch.cat([own[m], shared])
                new = attend(blocks[m], tokens, tokens)
                own[m] = new[: len(own[m])]
                written.append(new[len(own[m]) :])
            shared = torch.stack(written).mean(dim=0)
        expected = fusion.norm(torch.stack([own[m][0] for m in here]).mean(dim=0))
        torch.testing.assert_close(results[row], expected, rtol=1e-6, atol=1e-8)


def heads(kind: str, distribution: Any, outputs: int = 3) -> Any:
    torch.manual_seed(0)
    config = TypeAdapter(FusionConfig).validate_python({"kind": kind})
    head = config.head(D, outputs, NAMES, distribution)
    assert isinstance(head, nn.Module)
    return head


def softmax(logits: list[float]) -> list[float]:
    total = sum(map(math.exp, logits))
    return [math.exp(x) / total for x in logits]


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


OUTPUTS = torch.randn(4, 3, 3, generator=torch.Generator().manual_seed(4))
PRECISIONS = (0.5, 2.0, 1.5)


def experts_of(row: int) -> list[tuple[list[float], float]]:
    """Outputs and precision of those that are there."""
    return [(OUTPUTS[row, m].tolist(), PRECISIONS[m]) for m in range(3) if PRESENT[row, m]]


def product_head(distribution: Any) -> Any:
    head = heads("product", distribution)
    with torch.no_grad():
        head.log_precision.copy_(torch.tensor(PRECISIONS).log())
    return head


def test_mean_and_product_of_classes() -> None:
    from pipeline.models.fusion.distributions import Categorical

    mean = heads("mean", Categorical()).combine(OUTPUTS, PRESENT).softmax(dim=1)
    joint = product_head(Categorical()).combine(OUTPUTS, PRESENT).softmax(dim=1)
    for row in range(4):
        experts = [(softmax(logits), power) for logits, power in experts_of(row)]
        averages = [sum(p[k] for p, _ in experts) / len(experts) for k in range(3)]
        assert mean[row].tolist() == pytest.approx(averages, rel=1e-5)
        products = [math.prod(p[k] ** power for p, power in experts) for k in range(3)]
        assert joint[row].tolist() == pytest.approx([x / sum(products) for x in products], rel=1e-5)


def test_mean_and_product_of_decisions() -> None:
    from pipeline.models.fusion.distributions import Bernoulli

    mean = heads("mean", Bernoulli()).combine(OUTPUTS, PRESENT).sigmoid()
    joint = product_head(Bernoulli()).combine(OUTPUTS, PRESENT).sigmoid()
    for row, k in product(range(4), range(3)):
        experts = [(sigmoid(logits[k]), power) for logits, power in experts_of(row)]
        assert mean[row, k].item() == pytest.approx(
            sum(p for p, _ in experts) / len(experts), rel=1e-5
        )
        yes = math.prod(p**power for p, power in experts)
        no = math.prod((1 - p) ** power for p, power in experts)
        assert joint[row, k].item() == pytest.approx(yes / (yes + no), rel=1e-5)


def test_mean_and_product_of_numbers() -> None:
    from pipeline.models.fusion.distributions import Gaussian

    mean = heads("mean", Gaussian()).combine(OUTPUTS, PRESENT)
    joint = product_head(Gaussian()).combine(OUTPUTS, PRESENT)
    for row, k in product(range(4), range(3)):
        experts = [(numbers[k], precision) for numbers, precision in experts_of(row)]
        average = sum(x for x, _ in experts) / len(experts)
        assert mean[row, k].item() == pytest.approx(average, rel=1e-5, abs=1e-6)
        # The density of a product of Gaussians has its top where the sum of squares has its least.
        top = sum(x * w for x, w in experts) / sum(w for _, w in experts)
        assert joint[row, k].item() == pytest.approx(top, rel=1e-5, abs=1e-6)


def test_nothing_is_learned_of_nobody() -> None:
    """A sample without any modality: the outputs are finite, and no expert has a gradient of it."""
    from pipeline.models.fusion.distributions import Bernoulli, Categorical, Gaussian

    nobody = torch.zeros(4, 3, dtype=torch.bool)
    for distribution, kind in product(
        (Bernoulli(), Categorical(), Gaussian()), ("mean", "product")
    ):
        outputs = OUTPUTS.clone().requires_grad_()
        joint = heads(kind, distribution).combine(outputs, nobody)
        joint.log_softmax(dim=1).sum().backward()
        assert torch.isfinite(joint).all()
        assert torch.isfinite(outputs.grad).all()


def test_stacking_is_linear_in_the_experts_outputs_and_leaves_them_alone() -> None:
    from pipeline.models.fusion.distributions import Categorical

    head = heads("stacking", Categorical())
    with torch.no_grad():
        head.missing.normal_()
    outputs = OUTPUTS.clone().requires_grad_()
    joint = head.combine(outputs, PRESENT)
    for row in range(3):
        inputs = [
            (OUTPUTS if PRESENT[row, m] else head.missing[None].expand(4, 3, 3))[row, m, k].item()
            for m, k in product(range(3), range(3))
        ]
        for k in range(3):
            expected = head.level_one.bias[k].item() + sum(
                w * x for w, x in zip(head.level_one.weight[k].tolist(), inputs, strict=True)
            )
            assert joint[row, k].item() == pytest.approx(expected, rel=1e-5, abs=1e-6)
    assert torch.equal(joint[3], OUTPUTS[3, 0]), "one alone answers itself"
    joint.sum().backward()
    assert (outputs.grad[:3] == 0).all(), "where there are several, the experts learn nothing"
    assert (outputs.grad[3, 0] == 1).all()


def test_a_perceptron_bends_between_its_two_layers() -> None:
    """Without that it is one linear layer, and a modality's answer no more than a direction."""
    layers = perceptron(3, 0.5).eval()
    first, second = (layer for layer in layers if isinstance(layer, nn.Linear))
    vectors = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    layers.double()
    for vector, answer in zip(vectors, layers(vectors), strict=True):
        hidden = [
            float(row @ vector + bias) for row, bias in zip(first.weight, first.bias, strict=True)
        ]
        bent = [value * (1 + math.erf(value / math.sqrt(2))) / 2 for value in hidden]
        wanted = second.weight @ torch.tensor(bent, dtype=torch.float64) + second.bias
        torch.testing.assert_close(answer, wanted)
