"""What values are asked to be, what is refused, and what is predicted of whom."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from safetensors.torch import save
from torch import Tensor

from pipeline.config import validate
from pipeline.errors import ConfigError, SampleError
from pipeline.metrics.generated.frechet import frechet_distance
from pipeline.modalities import ModalitiesConfig
from pipeline.modalities.chance import CHANCE
from pipeline.models.bundle import Bundle
from pipeline.objectives import ObjectiveConfig
from pipeline.objectives.base import Judging
from pipeline.objectives.columns import fixed_lists
from pipeline.objectives.gan import GanConfig
from pipeline.objectives.gan.conditions import (
    ConditionSurvey,
    ConditionTarget,
    Vocabulary,
    in_words,
    text_of,
    values_of,
)
from pipeline.objectives.gan.evaluation import GanEvaluation
from pipeline.objectives.gan.model import AdversarialPair
from pipeline.objectives.gan.rows import ASKED, REALISM, YARDSTICK, YARDSTICK_REAL
from pipeline.objectives.gan.yardstick import Yardstick, joint_distance
from pipeline.objectives.sealed import build
from pipeline.prediction.bundle import BundlePredictor
from pipeline.prediction.spec import ModelSpec, open_model
from pipeline.sample import LABEL, Field, Sample

PLACES = ("cls", "json.tags")
B, SIZE = 6, 8
TREE = {"image": {"fields": ["png"], "size": SIZE}, "vector": {"fields": ["csv"], "shape": [3]}}
MODALITIES = ModalitiesConfig.model_validate(TREE)
SHAPES = {
    "image": (SIZE, SIZE, 3),
    "audio": (8, 51),
    "vector": (2, 3),
}


def sample(**fields: str) -> Sample:
    members = {
        name: Field(memoryview(text.encode()), 0, len(text)) for name, text in fields.items()
    }
    return Sample("k", "x.tar", 0, members)


def config(**settings: Any) -> GanConfig:
    tree = {"kind": "gan", "width": 32, "channels": 8, "noise": 4, **settings}
    return cast(GanConfig, TypeAdapter(ObjectiveConfig).validate_python(tree))


def surveyed(*samples: Sample) -> ConditionSurvey:
    survey = ConditionSurvey(ConditionTarget(PLACES))
    for one in samples:
        survey.add(one, 64)
    return survey


SAMPLES = (
    sample(cls="2", json='{"tags": ["b", "a", "b"]}'),
    sample(cls="1", json='{"tags": []}'),
    sample(json='{"tags": ["c"]}'),
    sample(cls="1"),
)


def test_a_target_reads_values_and_lists_and_may_lack_any() -> None:
    texts = [ConditionTarget(PLACES).read(one) for one in SAMPLES]
    assert [values_of(text) for text in texts] == [
        {"cls": ("2",), "json.tags": ("a", "b")},
        {"cls": ("1",), "json.tags": ()},
        {"json.tags": ("c",)},
        {"cls": ("1",)},
    ]
    assert [in_words(text) for text in texts] == ["2, a + b", "1, none", "c", "1"]
    assert values_of(None) == values_of(ConditionTarget(PLACES).accept(None)) == {}


@pytest.mark.parametrize("bad", ['{"tags": {"a": 1}}', '{"tags": [1]}', "{", '{"tags": true}'])
def test_what_cannot_be_read_is_no_condition(bad: str) -> None:
    with pytest.raises(SampleError) as caught:
        ConditionTarget(PLACES).read(sample(cls="1", json=bad))
    assert caught.value.reason == "bad_label"


def test_a_vocabulary_is_zeros_and_ones_and_says_them_again() -> None:
    vocabulary = Vocabulary.of(surveyed(*SAMPLES), PLACES)
    texts = [ConditionTarget(PLACES).read(one) for one in SAMPLES]
    table = vocabulary.table(texts)
    assert table.tolist() == [[0, 1, 1, 1, 0], [1, 0, 0, 0, 0], [0, 0, 0, 0, 1], [1, 0, 0, 0, 0]]
    assert [values_of(text) for text in vocabulary.texts(table)][2] == {
        "cls": (),
        "json.tags": ("c",),
    }
    asked = vocabulary.table(texts, {"json.tags": ("b",)})
    assert asked[:, 2:].tolist() == [[0, 1, 0]] * 4
    assert asked[:, :2].tolist() == table[:, :2].tolist()
    assert vocabulary.table([text_of({"cls": ("9",)})]).sum() == 0, "of a class never seen"


def test_places_without_values_or_with_too_many_are_refused() -> None:
    with pytest.raises(ConfigError, match="none of 1 samples has anything at cls"):
        Vocabulary.of(surveyed(SAMPLES[2]), PLACES)
    many = surveyed(*(sample(cls=str(n), json='{"tags": ["a"]}') for n in range(1001)))
    with pytest.raises(ConfigError, match="1001 different values at cls"):
        Vocabulary.of(many, PLACES)
    with pytest.raises(ConfigError, match="no sample is 'z' at cls"):
        config(label="cls", ask={"cls": "z"}).learn(surveyed(*SAMPLES))


TEXT = {"text": {"max_tokens": 4}}


@pytest.mark.parametrize(
    ("modalities", "objective", "words"),
    [
        (TREE, {"generates": "sound"}, "objective.generates: there is no modality sound"),
        (
            {"image": TREE["image"]},
            {},
            "of other modalities or of a label, and there is neither",
        ),
        ({**TREE, **TEXT}, {"generates": "text"}, "text is symbols, which have none"),
        (TEXT, {"label": "cls"}, "text is symbols"),
        (
            {"video": {"fields": ["mp4"]}, **TREE},
            {"generates": "video"},
            "objective.generates: no network here makes values of video",
        ),
        (TREE, {"label": "cls", "ask": {"json.x": "1"}}, "objective.ask: json.x is none of"),
        (TREE, {"generates": ["image", "vector"]}, "at most 1 item"),
        (TREE, {"augment": ["blur"]}, "objective.augment: input should be"),
    ],
)
def test_what_cannot_be_made_is_refused(
    modalities: dict[str, Any], objective: dict[str, Any], words: str
) -> None:
    with pytest.raises((ConfigError, ValidationError)) as caught:
        validate({"run": "r", "modalities": modalities, "objective": {"kind": "gan", **objective}})
    assert words in str(caught.value)


def test_a_label_may_be_a_field_that_a_source_shows() -> None:
    tree = {
        "run": "r",
        "modalities": {**TREE, **TEXT},
        "objective": {"kind": "gan", "label": "txt"},
    }
    assert validate(tree).objective is not None


def pair(section: GanConfig, modalities: ModalitiesConfig = MODALITIES) -> AdversarialPair:
    torch.manual_seed(0)
    network = build(section, modalities, learned_of(section, modalities))
    return cast(AdversarialPair, network.eval())


def learned_of(section: GanConfig, modalities: ModalitiesConfig) -> dict[str, Any]:
    values = {"values": {place: ["a", "b"] for place in section.label}}
    return {**values, **section.about_inputs(modalities.by_name())}


def batch_of(network: AdversarialPair, *names: str) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    batch: dict[str, Tensor] = {CHANCE: torch.arange(B) * 77 + 5}
    for name in names:
        values = torch.rand(B, *SHAPES[name], generator=generator)
        batch[name] = (255 * values).to(torch.uint8) if name == "image" else 2 * values.round()
        batch[f"{name}_present"] = torch.arange(B) != 2
    texts = [text_of({"cls": (name,)}) for name in "abbaab"]
    return batch | network.targets(texts)


@pytest.mark.parametrize("name", ["image", "vector"])
def test_a_prediction_is_its_own_samples_and_seeds_alone(name: str) -> None:
    section = config(generates=name, label="cls")
    network = pair(section)
    batch = batch_of(network, "image", "vector")
    whole = network.predict(batch)
    for row in range(B):
        alone = network.predict({key: value[row : row + 1] for key, value in batch.items()})
        for key, values in alone.items():
            torch.testing.assert_close(values[0], whole[key][row], rtol=1e-4, atol=1e-3)
    made = f"generated_{name}"
    assert torch.equal(whole[made], network.predict(batch)[made])
    assert not torch.allclose(whole[made], network.predict(batch, seed=1)[made], atol=1e-3)
    blind = {**batch, name: torch.zeros_like(batch[name])}
    assert torch.equal(whole[made], network.predict(blind)[made]), "its own value is not looked at"
    other = "vector" if name == "image" else "image"
    moved = network.predict({**batch, f"{other}_present": torch.zeros(B, dtype=torch.bool)})[made]
    assert not torch.allclose(whole[made][:2], moved[:2], atol=1e-3), "it is made of the other"
    assert torch.equal(whole[made][2], moved[2]), "which the third sample lacks"


def test_what_is_asked_for_takes_the_place_of_what_a_sample_says() -> None:
    network, asking = (
        pair(config(generates="image", label=["cls"], **ask)) for ask in ({}, {"ask": {"cls": "b"}})
    )
    asking.load_state_dict(network.state_dict())
    batch = batch_of(network, "image", "vector")
    plain, asked = network.predict(batch), asking.predict(batch)
    as_asked = torch.tensor([name == "b" for name in "abbaab"])
    same = (plain["generated_image"] == asked["generated_image"]).flatten(1).all(1)
    assert torch.equal(same, as_asked)
    assert asked["condition"].tolist() == [[0.0, 1.0]] * B


def test_a_bundle_is_given_labels_where_it_predicts(tmp_path: Path) -> None:
    section = config(generates="image", label="cls")
    modalities = ModalitiesConfig.model_validate({"image": TREE["image"]})
    network = pair(section, modalities)
    Bundle.of(
        objective=section.model_dump(mode="json"),
        modalities=modalities,
        learned=learned_of(section, modalities),
        tokenizer=None,
        weights=save({key: value.contiguous() for key, value in network.state_dict().items()}),
    ).save(str(tmp_path))
    spec = ModelSpec(str(tmp_path), modalities, device="cpu", batch_size=4, seed=3)
    assert open_model(spec).decoder().target == ConditionTarget(("cls",))
    predictor = BundlePredictor(spec)
    images = np.zeros((B, SIZE, SIZE, 3), np.uint8)
    column = predictor.codecs["image"].to_arrow(list(images))
    names = "abbaab"
    table = pa.table(
        {
            "image": column,
            LABEL: [text_of({"cls": (name,)}) for name in names],
            "key": [f"k{row}" for row in range(B)],
            "shard": ["x.tar"] * B,
        }
    )
    rows = predictor.rows(table)
    assert [values_of(text)["cls"] for text in rows[ASKED].to_pylist()] == [(n,) for n in names]
    assert rows["generated_image"][0].as_py()[:4] == b"\x89PNG"
    halves = pa.concat_tables([predictor.rows(table.slice(0, 2)), predictor.rows(table.slice(2))])
    assert halves["generated_image"].to_pylist() == rows["generated_image"].to_pylist()


def test_a_yardstick_is_the_same_whatever_was_drawn_before() -> None:
    torch.manual_seed(1)
    first = Yardstick((3, SIZE, SIZE))
    torch.manual_seed(2)
    values = torch.rand(4, 3, SIZE, SIZE)
    assert torch.equal(first(values), Yardstick((3, SIZE, SIZE))(values))
    assert first(values).shape == (4, first.width)
    assert not first.state_dict(), "it is not kept with the weights"


def test_values_of_the_wrong_label_are_far_off() -> None:
    rng = np.random.default_rng(0)
    labels = np.eye(2, dtype=np.float32)[np.arange(80) % 2]
    real = (4 * labels @ rng.normal(size=(2, 5)) + rng.normal(size=(80, 5))).astype(np.float32)
    made = (4 * labels @ np.zeros((2, 5)) + real[rng.permutation(40).repeat(2) * 2]).astype(
        np.float32
    )
    again = np.concatenate([real[2:], real[:2]])
    swapped = np.concatenate([real[1:], real[:1]])
    assert joint_distance(real, again, labels) == pytest.approx(0.0, abs=1e-3)
    assert frechet_distance(real, swapped) == pytest.approx(0.0, abs=1e-3)
    assert joint_distance(real, swapped, labels) > 1.0
    nothing = np.zeros((80, 0), np.float32)
    assert joint_distance(real, made, nothing) == frechet_distance(real, made)


def test_only_samples_that_are_as_asked_judge() -> None:
    count = 60
    rng = np.random.default_rng(0)
    real, made = (rng.normal(size=(count, 4)).astype(np.float32) for _ in range(2))
    covered = np.arange(count) % 3 == 0
    real[covered] += 50
    own = [text_of({"cls": ("a",), "json.tags": ("x",) if c else ()}) for c in covered]
    rows = pa.table(
        {
            ASKED: [text_of({"cls": ("a",), "json.tags": ()})] * count,
            REALISM: pa.array(np.zeros(count), pa.float32()),
            YARDSTICK: fixed_lists(made),
            YARDSTICK_REAL: fixed_lists(real, np.arange(count) > 3),
        }
    )
    evaluation = GanEvaluation(Judging("test", 0, 20))
    evaluation.update(own, {"image": rows}, {"image": np.ones(count, bool)})
    record = evaluation.compute()
    judging = ~covered & (np.arange(count) > 3)
    assert record.overall.num_samples == judging.sum()
    metrics = record.overall.metrics
    assert metrics["frechet_distance"] == pytest.approx(
        frechet_distance(real[judging], made[judging])
    )
    assert metrics["diversity"] == pytest.approx(1.0, abs=0.3)
    assert json.loads(json.dumps(record.to_json()))["overall"]["precision_of_real"] > 0
