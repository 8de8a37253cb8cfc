"""Every objective works with every fusion, or refuses it: missing modalities, one alone, and a bundle's weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import save

from pipeline.modalities import ModalitiesConfig
from pipeline.models.bundle import Bundle
from pipeline.models.fusion import FusionConfig
from pipeline.objectives import kinds
from pipeline.objectives.sealed import build, restore

FUSIONS = [config.model_fields["kind"].default for config in get_args(get_args(FusionConfig)[0])]
LEARNED: dict[str, tuple[dict[str, Any], list[str]]] = {
    "classify": ({"classes": ["a", "b"]}, ["a", "b", "a", "b"]),
    "multi_label": ({"classes": ["a", "b"]}, ['["a"]', "[]", '["a", "b"]', '["b"]']),
    "regress": ({"mean": [1.0], "deviation": [2.0]}, ["1", "2", "3", "-4"]),
    "caption": (
        {"vocabulary": {"kind": "characters", "characters": "ab "}, "most_frequent": "a"},
        ['["a"]', '["b a", "a"]', '["abba"]', '["b"]'],
    ),
    "gan": ({}, [""] * 4),
}
OBJECTIVES = [kind for kind in kinds() if "fusion" in kind.model_fields]  # those that fuse
B = 4


def modalities_of(*names: str) -> ModalitiesConfig:
    sections: dict[str, Any] = {"image": {"size": 8}, "text": {"vocab_size": 300, "max_tokens": 4}}
    return ModalitiesConfig.model_validate({name: sections[name] for name in names})


def section_of(objective: Any, fusion: str) -> Any:
    """The objective with a fusion; the test ends where it is told in one line that the two do not go together."""
    try:
        return objective(width=32, fusion={"kind": fusion})
    except ValidationError as error:
        [fault] = error.errors()
        assert fault["msg"].startswith(f"Value error, objective.fusion.kind={fusion} ")
        assert "\n" not in fault["msg"]
        pytest.skip("refuses this fusion")


def learned_of(section: Any, modalities: ModalitiesConfig) -> dict[str, Any]:
    return {**LEARNED[section.kind][0], **section.about_inputs(modalities.by_name())}


def network_of(objective: Any, fusion: str, *names: str) -> Any:
    torch.manual_seed(0)
    section, modalities = section_of(objective, fusion), modalities_of(*names)
    try:
        section.check_inputs(modalities.by_name())
    except ValueError:
        pytest.skip("refuses these modalities")
    return build(section, modalities, learned_of(section, modalities))


def batch_of(network: Any, objective: Any, missing: str = "") -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    batch = {
        "image": torch.randint(0, 256, (B, 8, 8, 3), generator=generator, dtype=torch.uint8),
        "text": torch.randint(1, 50, (B, 4), generator=generator),
        "image_present": torch.tensor([True, True, False, False]),
        "text_present": torch.tensor([True, False, True, False]),
    }
    if missing:
        batch[f"{missing}_present"] = torch.zeros(B, dtype=torch.bool)
    return batch | network.targets(LEARNED[objective().kind][1])


def check_step(network: Any, batch: dict[str, torch.Tensor]) -> None:
    for turn in network.train().turns:
        loss, sums = network(batch, turn.name)
        loss.backward()
        assert torch.isfinite(loss)
        assert all(torch.isfinite(value) for value in sums.values())
    for name, weight in network.named_parameters():
        if not weight.requires_grad:
            continue
        assert weight.grad is not None, name
        assert torch.isfinite(weight.grad).all(), name
    for name, values in network.eval().predict(batch).items():
        assert torch.isfinite(values).all(), name


def unsealed(network: Any, folder: Path) -> Any:
    """The network of a bundle that was written and read."""
    section = network.settings
    Bundle.of(
        objective=section.model_dump(mode="json"),
        modalities=modalities_of("image", "text"),
        learned=learned_of(section, modalities_of("image", "text")),
        tokenizer="{}",
        weights=save({name: value.contiguous() for name, value in network.state_dict().items()}),
    ).save(str(folder))
    return restore(Bundle.load(str(folder)))


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda kind: kind.__name__)
def test_it_learns_and_answers_with_any_subset_and_is_sealed(
    objective: Any, fusion: str, tmp_path: Path
) -> None:
    network = network_of(objective, fusion, "image", "text")
    for missing in ("", "image"):
        check_step(network, batch_of(network, objective, missing))
    again = unsealed(network, tmp_path)
    batch = batch_of(network, objective)
    for name, values in network.eval().predict(batch).items():
        assert torch.equal(values, again.predict(batch)[name]), name


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda kind: kind.__name__)
def test_one_modality_alone_is_a_model(objective: Any, fusion: str) -> None:
    network = network_of(objective, fusion, "text")
    check_step(network, batch_of(network, objective))


def test_features_are_fused_by_every_objective() -> None:
    """Only fusions of answers may be refused."""
    for config in get_args(get_args(FusionConfig)[0]):
        if not config.JOINS_OUTPUTS:
            for objective in OBJECTIVES:
                objective(width=32, fusion={"kind": config.model_fields["kind"].default})
