"""Captions: what is read and refused, what a network learns of them, and how they are judged."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from pipeline.config import validate
from pipeline.errors import ConfigError, SampleError
from pipeline.modalities import ModalitiesConfig
from pipeline.modalities.chance import CHANCE
from pipeline.objectives import ObjectiveConfig
from pipeline.objectives.base import EMBEDDING, Judging, Learned
from pipeline.objectives.caption import CaptionConfig
from pipeline.objectives.caption.evaluation import sample_scores
from pipeline.objectives.caption.section import CaptionSection
from pipeline.objectives.sealed import build
from pipeline.objectives.texts import survey as surveys
from pipeline.objectives.texts.survey import TextSurvey
from pipeline.objectives.texts.targets import TextTarget
from pipeline.objectives.texts.vocabulary import END, PAD, START, UNKNOWN, Vocabulary
from pipeline.sample import LABEL, Field, Sample

TEXTS = [
    "a red cat",
    "two dogs",
    "a bird sings",
    "ein Hund \u00fcber \u4e2d\u6587",
    "two cats",
    "x",
]
MODALITIES = ModalitiesConfig.model_validate(
    {"vector": {"fields": ["csv"], "shape": [6]}, "image": {"fields": ["png"], "size": 8}}
)
DECODERS = ({"kind": "transformer"}, {"kind": "lstm"})
VOCABULARIES = ({"kind": "characters"}, {"kind": "bpe", "size": 300})


def sample(**fields: bytes) -> Sample:
    members = {name: Field(memoryview(data), 0, len(data)) for name, data in fields.items()}
    return Sample("k", "x.tar", 0, members)


def config(**settings: Any) -> CaptionConfig:
    tree = {"kind": "caption", "width": 32, "max_tokens": 24, **settings}
    return TypeAdapter(ObjectiveConfig).validate_python(tree)


def written(*texts: str) -> str:
    return json.dumps(texts, ensure_ascii=False)


def surveyed(*texts: str) -> TextSurvey:
    survey = TextSurvey(TextTarget("txt"))
    for text in texts:
        survey.add_text(written(text))
    return survey


def learned_of(objective: CaptionConfig, *texts: str) -> Learned:
    return objective.learn(surveyed(*(texts or TEXTS)))


def network_of(objective: CaptionConfig) -> Any:
    torch.manual_seed(0)
    return build(objective, MODALITIES, learned_of(objective))


def batch(count: int = len(TEXTS)) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shape = (count, 8, 8, 3)
    return {
        "vector": torch.randn(count, 2, 6, generator=generator),
        "vector_present": torch.ones(count, dtype=torch.bool),
        "image": torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8),
        "image_present": torch.arange(count) % 3 > 0,
    }


# What is read.


@pytest.mark.parametrize(
    ("fields", "texts"),
    [
        ({"txt": b" A cat.\n"}, ("A cat.",)),
        ({"txt": "\ufeffe\u0301te\u0301".encode()}, ("\u00e9t\u00e9",)),
        ({"json": b'{"captions": ["a cat", " ", "A cat", "a cat"]}'}, ("a cat", "A cat")),
        ({"json": b'{"captions": "one"}'}, ("one",)),
    ],
)
def test_texts_are_read(fields: Mapping[str, bytes], texts: tuple[str, ...]) -> None:
    place = "txt" if "txt" in fields else "json.captions"
    assert config(target=place).targets().read(sample(**fields)) == written(*texts)
    assert config(target=place, lower=True).targets().read(sample(**fields)) == written(
        *dict.fromkeys(text.lower() for text in texts)
    )


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b'{"captions": []}', "the text is empty"),
        (b'{"captions": ["", " "]}', "the text is empty"),
        (b'{"captions": [1]}', "not a text, nor a list of texts"),
        (b'{"captions": {"a": "b"}}', "not a text, nor a list of texts"),
        (b'{"captions": null}', "not a text, nor a list of texts"),
        (b'{"captions": "\\ud800"}', "not JSON"),
        (b"{", "not JSON"),
        (b'"\xff"', "not UTF-8"),
    ],
)
def test_what_is_no_text_is_refused(data: bytes, what: str) -> None:
    with pytest.raises(SampleError) as caught:
        config(target="json.captions").targets().read(sample(json=data))
    assert what in caught.value.what
    assert (caught.value.reason, caught.value.field) == ("bad_label", "json")
    assert caught.value.setting == "objective.target"


def test_the_most_frequent_text_and_the_symbols_are_learned() -> None:
    learned = learned_of(config(), "b a", "c", "c", "b a", "abc")
    assert learned["most_frequent"] == "b a"
    assert learned["vocabulary"] == {"kind": "characters", "characters": " abc"}
    with pytest.raises(ConfigError, match="no training sample has a text"):
        config().learn(TextSurvey(TextTarget("txt")))


@pytest.mark.parametrize("kind", VOCABULARIES, ids=lambda kind: kind["kind"])
def test_texts_are_written_again_as_they_are(kind: dict[str, Any]) -> None:
    words = Vocabulary.from_json(learned_of(config(vocabulary=kind))["vocabulary"])
    for text in TEXTS:
        symbols = words.encode(text)
        assert min(symbols) > END
        assert max(symbols) < words.size
        assert words.decode([START, *symbols, END, PAD, PAD]) == text


def test_rare_characters_are_unknown_and_told() -> None:
    objective = config(vocabulary={"kind": "characters", "most": 2}, max_tokens=4)
    learned = learned_of(objective, "aab", "abc")
    words = objective.words(learned)
    assert words.encode("abc") == [4, 5, UNKNOWN]
    assert words.decode([4, 5, UNKNOWN]) == "ab\ufffd"
    assert objective.remarks(surveyed("abc", "xya", "aa"), learned) == {"unknown_characters": 3}
    assert objective.remarks(surveyed("abab", "ab", "aaaa", "aba"), learned) == {
        "texts_cut_to_max_tokens": 2
    }
    assert not objective.remarks(surveyed("ab"), learned)


def test_a_sample_of_texts_does_not_depend_on_how_they_were_shared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(surveys, "KEPT_TEXTS", 8)
    texts = [f"text {n % 37}" for n in range(200)]
    whole = surveyed(*texts)
    first, second = surveyed(*texts[:50]), surveyed(*texts[50:])
    second.merge(first)
    objective = config()
    assert objective.learn(whole) == objective.learn(second)
    assert len(whole.texts) == 8
    assert whole.texts == second.texts
    assert all(whole.texts[text] == texts.count(text) for text in whole.texts)


# What the configuration refuses.


def tree(target: str, **modalities: Any) -> dict[str, Any]:
    return {
        "run": "r",
        "modalities": modalities,
        "objective": {"kind": "caption", "target": target},
    }


@pytest.mark.parametrize(
    ("target", "fields"),
    [("txt", ["txt"]), ("txt", ["md", "txt"]), ("json.captions", ["json"]), ("a.b.c", ["a.b"])],
)
def test_a_model_is_not_shown_its_answer(target: str, fields: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        validate(tree(target, text={"fields": fields}, image={"fields": ["png"]}))
    assert f"{target} is what the model is to find out" in str(caught.value)
    assert "modalities.text" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    validate(tree(target, text={"fields": ["other"]}, image={"fields": ["png"]}))


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"fusion": {"kind": "late"}}, "objective.fusion.kind=late joins the answers"),
        ({"fusion": {"kind": "stacking"}}, "objective.fusion.kind=stacking joins the answers"),
        (
            {"decoder": {"kind": "transformer", "heads": 5}},
            "5 heads cannot share objective.width=32",
        ),
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings: dict[str, Any], what: str) -> None:
    with pytest.raises(ValidationError, match=what):
        config(**settings)


# What a network learns.


@pytest.mark.parametrize(
    ("decoder", "vocabulary"),
    [*zip(DECODERS, VOCABULARIES, strict=True), (DECODERS[0], VOCABULARIES[1])],
    ids=lambda kind: kind["kind"],
)
def test_it_overfits_a_batch(decoder: dict[str, Any], vocabulary: dict[str, Any]) -> None:
    objective = config(
        decoder={**decoder, "dropout": 0.0},
        vocabulary=vocabulary,
        fusion={"kind": "concat", "dropout": 0.0},
        modality_dropout=0.0,
        label_smoothing=0.0,
    )
    network = network_of(objective)
    taught = batch() | network.targets([written(text) for text in TEXTS])
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        loss, _ = network.train().loss(taught)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
    sums = {name: value.item() for name, value in network.eval().loss(taught)[1].items()}
    metrics = network.metrics(sums)
    assert metrics["perplexity"] < 1.1
    assert metrics["token_accuracy"] == 1.0
    arrays = {name: value.numpy() for name, value in network.predict(batch()).items()}
    rows = objective.rows(arrays, learned_of(objective))
    assert rows["caption"].to_pylist() == TEXTS
    assert rows["score"].to_numpy().min() > -2


def test_the_loss_is_the_mean_over_texts_of_the_mean_over_symbols() -> None:
    objective = config(label_smoothing=0.2, modality_dropout=0.0)
    network = network_of(objective).eval()
    texts = [written(text) for text in TEXTS]
    taught = batch() | network.targets(texts)
    loss, sums = network.loss(taught)
    vocabulary = objective.words(learned_of(objective))
    _, memory = network._seen(taught)
    expected, total, symbols = [], 0.0, 0
    for row, text in enumerate(TEXTS):
        said = [*vocabulary.encode(text), END][:24]
        seen = type(memory)(*(part[row : row + 1] for part in memory))
        logits = network.decoder(torch.tensor([[START, *said[:-1]]]), seen)[0]
        nats = -logits.log_softmax(-1)[range(len(said)), said]
        expected.append(nats.mean().item())
        total, symbols = total + nats.sum().item(), symbols + len(said)
    assert loss.item() == pytest.approx(np.mean(expected), rel=1e-5), "not smoothed in validation"
    metrics = network.metrics({name: float(value) for name, value in sums.items()})
    assert metrics["perplexity"] == pytest.approx(np.exp(total / symbols), rel=1e-5)
    assert metrics["loss"] == pytest.approx(np.mean(expected), rel=1e-5)


def test_smoothing_moves_the_training_loss_alone() -> None:
    networks = [network_of(config(label_smoothing=share)) for share in (0.0, 0.3)]
    texts = [written(text) for text in TEXTS]
    losses = []
    for network in networks:
        for module in network.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        taught = batch() | network.targets(texts) | {CHANCE: torch.arange(len(TEXTS))}
        network.train()
        loss, sums = network.loss(taught)
        network.eval()
        losses.append((loss.item(), sums["nll"].item(), network.loss(taught)[0].item()))
    (plain, nll, validation), (smoothed, same_nll, same_validation) = losses
    assert abs(plain - smoothed) > 1e-3
    assert nll == pytest.approx(same_nll, rel=1e-5)
    assert validation == pytest.approx(same_validation, rel=1e-5)


def test_of_several_texts_one_is_taught_by_the_samples_own_chance() -> None:
    network = network_of(config()).train()
    lines = [written("a", "two", "cat"), written("x")] * 100
    taught = network.targets(lines) | {CHANCE: torch.arange(200)}
    chance = network_chance(taught)
    chosen = network._taught(taught, chance)
    lengths = (chosen != PAD).sum(dim=1) - 2
    assert sorted(set(lengths[::2].tolist())) == [1, 3]
    shares = torch.bincount(chosen[::2, 1], minlength=30)
    assert (shares > 0).sum() == 3
    assert 20 < int(shares.max()) < 50, "a third of a hundred each"
    assert set(lengths[1::2].tolist()) == {1}
    alone = {name: values[4:5] for name, values in taught.items()}
    assert torch.equal(network._taught(alone, network_chance(alone))[0], chosen[4])
    assert torch.equal(network.eval()._taught(taught, chance), taught["references"][:, 0])


def network_chance(values: Mapping[str, torch.Tensor]) -> Any:
    from pipeline.modalities.chance import Chance

    return Chance(values[CHANCE])


def test_texts_that_are_too_long_are_cut_and_have_no_end() -> None:
    network = network_of(config(max_tokens=3))
    references = network.targets([written("x"), written("cats")])["references"]
    assert references.shape == (2, 1, 4)
    assert references[0, 0].tolist()[2:] == [END, PAD]
    assert END not in references[1, 0].tolist()


@pytest.mark.parametrize("decoder", DECODERS, ids=lambda kind: kind["kind"])
def test_what_a_sample_lacks_changes_nothing(decoder: dict[str, Any]) -> None:
    network = network_of(config(decoder=decoder)).eval()
    spoilt = batch()
    spoilt["image"] = torch.where(
        spoilt["image_present"][:, None, None, None], spoilt["image"], 255 - spoilt["image"]
    )
    first, second = network.predict(batch()), network.predict(spoilt)
    for name, values in first.items():
        assert torch.equal(values, second[name]), name
    nothing = batch() | {
        f"{name}_present": torch.zeros(6, dtype=torch.bool) for name in ("vector", "image")
    }
    said = network.predict(nothing)
    assert all(torch.isfinite(values).all() for values in said.values())
    assert (said["symbols"] == said["symbols"][:1]).all()


# How captions are judged.


def evaluated(
    captions: Mapping[str, list[str]], texts: list[str], present: Mapping[str, list[bool]]
) -> Any:
    learned = {"most_frequent": "a cat", "vocabulary": {}}
    evaluation = config().evaluation(learned, Judging("test", 0, 200))
    rows = {name: pa.table({"caption": column}) for name, column in captions.items()}
    evaluation.update(texts, rows, {name: np.array(column) for name, column in present.items()})
    return evaluation.compute()


def test_an_evaluation_compares_subsets_on_their_samples_and_with_the_most_frequent_caption() -> (
    None
):
    names = ["red", "blue", "green", "grey"] * 5
    texts = [written(f"the {name} bird", f"a {name} one") for name in names]
    right = [f"a {name} one" for name in names]
    wrong = ["a red one"] * 20
    half = [n < 10 for n in range(20)]
    found = evaluated(
        {"image": wrong, "sound": right, "image+sound": right},
        texts,
        {"image": half, "sound": [True] * 20},
    )
    image, sound = found.subsets["image"], found.subsets["sound"]
    assert (image.num_samples, sound.num_samples) == (10, 20)
    assert found.overall.metrics["exact_match"] == 1.0
    assert image.metrics["exact_match"] == 0.3, "red ones of the first ten"
    assert sound.difference == 0.0
    assert image.difference is not None
    assert image.difference < -1
    assert image.difference_interval[1] < 0
    assert (
        found.overall.metrics["cider_of_most_frequent"] == found.details["most_frequent"]["cider"]
    )
    assert found.details["most_frequent"]["caption"] == "a cat"
    assert found.overall.metrics["mean_words"] == 3.0
    flat = config().flat(found)
    assert flat["cider_image"] == image.metrics["cider"]


def test_a_comparison_scores_samples_by_cider() -> None:
    rows = pa.table(
        {
            "caption": ["a red bird", "a cat"],
            LABEL: [["a red bird", "one bird"], ["the dog"]],
        }
    )
    scores = sample_scores(rows)
    assert (scores.name, scores.best) == ("cider", "max")
    assert scores.values[0] > 1 > scores.values[1] == 0.0
    found = evaluated(
        {"image": rows["caption"].to_pylist()},
        [written(*texts) for texts in rows[LABEL].to_pylist()],
        {"image": [True, True]},
    )
    assert found.overall.metrics["cider"] == pytest.approx(scores.values.mean())


def test_the_worst_and_the_best_are_shown() -> None:
    texts = ["a red bird", "a blue bird", "a green bird", "one grey cat"]
    said = ["a red bird", "nothing", "a green one", "one grey cat"]
    predicted = pa.table(
        {
            "key": list("abcd"),
            "shard": ["s"] * 4,
            LABEL: [[text] for text in texts],
            "caption": said,
        }
    )
    shown = CaptionSection(config().score).choose(
        predicted, evaluated({"image": said}, [written(t) for t in texts], {"image": [True] * 4}), 1
    )
    assert [judgement.key for judgement in shown] == ["b", "d"]
    assert shown[0].label == "a blue bird"
    assert shown[0].prediction == "nothing (CIDEr-D 0.00)"


def test_nights_see_that_a_model_says_the_same_of_everything() -> None:
    def rows(captions: list[str]) -> pa.Table:
        return pa.table({"caption": captions, EMBEDDING: [[0.0]] * len(captions)})

    summary = config().summary
    varied = summary(rows([f"text {n}" for n in range(200)]), {})
    same = summary(rows(["text 1"] * 200), {})
    assert varied["words"] == same["words"] == [200, *[0] * 9]
    assert max(same["captions"]) == 200
    assert max(varied["captions"]) < 15
    assert summary(rows(["a " * 90]), {})["words"][-1] == 1
