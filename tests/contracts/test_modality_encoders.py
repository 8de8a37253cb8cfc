"""What every encoder of every modality keeps to: a new one is tested the moment it is listed."""

import json
from collections.abc import Iterator

import pyarrow as pa
import pytest
import torch
from pydantic import TypeAdapter
from support.encoder_cases import PRETRAINED, ModalityCase, cases
from torch import nn
from torch.nn import functional

from pipeline.modalities import kinds
from pipeline.modalities.base import EncoderConfig
from pipeline.modalities.layers import Features
from pipeline.models.batch import to_tensors
from pipeline.settings import sections_of

WIDTH = 32


def members() -> Iterator[tuple[str, str]]:
    """Every member of every union: (modality, kind), and each source of pretrained ones."""
    for name, case in cases().items():
        annotation = type(case.config()).model_fields["encoder"].annotation
        for section in sections_of(annotation):
            for member in case.members_of(section.model_fields["kind"].default):
                yield name, member


MEMBERS = list(members())
each_encoder = pytest.mark.parametrize(("name", "kind"), MEMBERS)
each_own_encoder = pytest.mark.parametrize(
    ("name", "kind"), [member for member in MEMBERS if not member[1].startswith(PRETRAINED)]
)


def build(name: str, kind: str, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return cases()[name].config(kind).build_encoder(WIDTH)


def fitted(name: str, kind: str) -> nn.Module:
    """The network, with what it is to know of the training set."""
    case, encoder = cases()[name], build(name, kind)
    collector = case.config(kind).training_statistics()
    if collector is not None:
        codec = case.codec(kind)
        values = [codec.decode(memoryview(data), case.field) for data in case.members]
        for _ in range(2):  # what one sample alone has may not count
            collector.add(codec.to_arrow([values[0], None]))
            collector.add(codec.to_arrow(values[1:]))
        encoder.fit(json.loads(json.dumps(collector.result())))
    return encoder


def batch_of(name: str, kind: str) -> dict[str, torch.Tensor]:
    """Two samples, the one between them without the modality."""
    case = cases()[name]
    codec = case.codec(kind)
    decoded = [codec.decode(memoryview(data), case.field) for data in case.members]
    column = codec.to_arrow([decoded[0], None, decoded[1]])
    return to_tensors(
        pa.Table.from_arrays([column], schema=pa.schema([codec.column])), {name: codec}
    )


def encode(encoder: nn.Module, name: str, batch: dict[str, torch.Tensor]) -> Features:
    features = encoder(batch[name])
    assert isinstance(features, Features)
    return features.where(batch[f"{name}_present"])


def test_every_modality_has_a_case() -> None:
    assert all(isinstance(case, ModalityCase) for case in cases().values())
    assert set(cases()) == set(kinds()), "a new modality is listed in support/encoder_cases.py too"


@each_encoder
def test_features_have_the_width_asked_for_and_a_mask(name: str, kind: str) -> None:
    batch = batch_of(name, kind)
    tokens, mask = encode(build(name, kind), name, batch)
    assert tokens.shape == (3, mask.shape[1], WIDTH)
    assert tokens.dtype == torch.float32
    assert mask.dtype == torch.bool
    assert mask.any(dim=1).tolist() == [True, False, True], "missing is masked, and nothing else"
    assert torch.isfinite(tokens).all(), "what is missing is a mask, never a NaN"


@each_encoder
def test_a_sample_is_encoded_alike_whatever_lies_beside_it(name: str, kind: str) -> None:
    batch = batch_of(name, kind)
    encoder = build(name, kind).eval()
    first = encode(encoder, name, batch)
    again = encode(encoder, name, batch)
    assert torch.equal(first.tokens, again.tokens)
    turned = {column: values.flip(0) for column, values in batch.items()}
    torch.testing.assert_close(encode(encoder, name, turned).clean().flip(0), first.clean())


@each_encoder
def test_a_gradient_reaches_every_weight_that_is_trained(name: str, kind: str) -> None:
    encoder = build(name, kind).train()
    features = encode(encoder, name, batch_of(name, kind))
    (features.clean() * torch.randn(features.tokens.shape)).sum().backward()
    for path, parameter in encoder.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, path
            assert torch.isfinite(parameter.grad).all(), path
            assert parameter.grad.any(), path


@each_encoder
def test_samples_without_the_modality_have_no_gradient(name: str, kind: str) -> None:
    encoder = build(name, kind).train()
    batch = batch_of(name, kind)
    batch[f"{name}_present"] = torch.zeros(3, dtype=torch.bool)
    features = encode(encoder, name, batch)
    (features.clean().sum() + sum(weight.sum() * 0 for weight in encoder.parameters())).backward()
    for path, parameter in encoder.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None
            assert not parameter.grad.any(), path


@each_encoder
def test_an_encoder_keeps_to_its_type_and_device(name: str, kind: str) -> None:
    """In double precision, so that a tensor made in float32 on the way stands out."""
    batch = batch_of(name, kind)
    encoder = build(name, kind).double()
    tokens, mask = encode(encoder, name, batch)
    assert tokens.dtype == torch.float64
    assert mask.device == tokens.device
    if name != "image" and kind.startswith(PRETRAINED):
        return  # whether any token is masked, or what autocast would do, a tensor without values cannot tell
    with torch.device("meta"):
        elsewhere = {
            column: torch.empty_like(values, device="meta") for column, values in batch.items()
        }
    moved, mask = encode(encoder.to("meta"), name, elsewhere)
    assert moved.device.type == mask.device.type == "meta"


@each_encoder
def test_what_is_masked_changes_nothing(name: str, kind: str) -> None:
    """Whatever lies where there is no token, frame or value; images have no such places."""
    values = batch_of(name, kind)[name]
    encoder = fitted(name, kind).eval()
    first, other = (encoder(alike) for alike in cases()[name].alike(values))
    length = min(first.mask.shape[1], other.mask.shape[1])
    assert not first.mask[:, length:].any()
    assert torch.equal(first.mask[:, :length], other.mask[:, :length])
    torch.testing.assert_close(
        other.clean()[:, :length], first.clean()[:, :length], rtol=0, atol=1e-6
    )


@each_encoder
def test_it_learns_a_batch_by_heart(name: str, kind: str) -> None:
    encoder = fitted(name, kind)
    head = nn.Linear(WIDTH, 2)
    batch, labels = batch_of(name, kind), torch.tensor([0, 1])
    weights = [*encoder.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW([each for each in weights if each.requires_grad], lr=3e-3)
    for _ in range(60):
        features = encode(encoder, name, batch)
        tokens, counts = features.clean()[::2], features.mask[::2].sum(dim=1, keepdim=True)
        loss = functional.cross_entropy(head(tokens.sum(dim=1) / counts), labels)
        if loss.item() < 0.05:
            return
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    raise AssertionError(f"the loss is still {loss.item():.2f}")


@each_encoder
def test_in_half_precision_it_gives_about_the_same(name: str, kind: str) -> None:
    batch = batch_of(name, kind)
    encoder = fitted(name, kind).eval()
    exact = encode(encoder, name, batch)
    with torch.autocast("cpu", torch.bfloat16):
        rough = encode(encoder, name, batch)
        loss = rough.clean().float().square().sum()
    loss.backward()
    assert torch.equal(rough.mask, exact.mask)
    error = (rough.clean().float() - exact.clean()).square().mean().sqrt()
    assert error < 0.05 * exact.clean().square().mean().sqrt()
    gradients = [each.grad for each in encoder.parameters() if each.grad is not None]
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


@each_own_encoder
def test_the_compiler_reads_it(name: str, kind: str) -> None:
    """By its front end alone: its C++ takes a minute for a network."""
    batch = batch_of(name, kind)
    encoder = fitted(name, kind).eval()
    torch._dynamo.reset()
    compiled = torch.compile(encoder, backend="eager", dynamic=False)
    torch.testing.assert_close(compiled(batch[name]).tokens, encoder(batch[name]).tokens)


@each_encoder
def test_the_section_survives_json(name: str, kind: str) -> None:
    case = cases()[name]
    section = case.config(kind).encoder
    assert isinstance(section, EncoderConfig)
    union = type(case.config()).model_fields["encoder"]
    adapter: TypeAdapter[EncoderConfig] = TypeAdapter(union.rebuild_annotation())
    assert adapter.validate_python(section.model_dump(mode="json")) == section
