"""Transcripts: what is learned of texts, which configurations do, how texts are found, timed and judged."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from pydantic import TypeAdapter

from pipeline.config import validate
from pipeline.errors import ConfigError
from pipeline.modalities import ModalitiesConfig
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.modalities.layers import Features
from pipeline.nets.prefix_search import prefix_search
from pipeline.objectives import ObjectiveConfig
from pipeline.objectives.base import Judging
from pipeline.objectives.sealed import build
from pipeline.objectives.transcribe import TranscribeConfig
from pipeline.objectives.transcribe.language import Fusion, Grams, LanguageConfig, learned_grams
from pipeline.objectives.transcribe.outputs import outputs_for
from pipeline.sample import KEY, LABEL, SHARD
from pipeline.training.optimization.optimizers import build_optimizer

MODALITIES = ModalitiesConfig.model_validate(
    {
        "audio": {
            "sample_rate_hz": 8000,
            "max_seconds": 0.6,
            "num_mels": 8,
            "encoder": {"kind": "sequence", "token_ms": 20, "layers": 1, "dropout": 0.0},
        }
    }
)
WORDS = ["one", "three", "see saw", "no", "ооо", "two", "一二", "five"]


def config(**settings: Any) -> TranscribeConfig:
    tree = {"kind": "transcribe", "width": 32, "dropout": 0.0, **settings}
    return TypeAdapter(ObjectiveConfig).validate_python(tree)


def learned_of(objective: TranscribeConfig, *texts: str) -> dict[str, Any]:
    survey = objective.survey()
    for text in texts:
        survey.add_text(json.dumps([text]))
    return {**objective.learn(survey), **objective.about_inputs(MODALITIES.by_name())}


def network(objective: TranscribeConfig, learned: Mapping[str, Any], seed: int = 0) -> Any:
    torch.manual_seed(seed)
    return build(objective, MODALITIES, learned)


def batch(count: int, seed: int = 0) -> dict[str, torch.Tensor]:
    """Noise of different lengths."""
    random = np.random.default_rng(seed)
    sounds = random.normal(-40, 10, (count, 8, 61)).clip(-79, 0)
    sounds[:, 0, 0] = 0
    for row in range(count):
        sounds[row, :, 61 - 3 * row :] = -80
    present = torch.ones(count, dtype=torch.bool)
    return {"audio": torch.from_numpy(sounds.astype(np.float16)), "audio_present": present}


@pytest.fixture(scope="module")
def taught() -> tuple[TranscribeConfig, dict[str, Any], Any, dict[str, torch.Tensor]]:
    """A network that has learned a batch by heart."""
    objective = config()
    learned = learned_of(objective, *WORDS)
    model = network(objective, learned).train()
    samples = batch(len(WORDS))
    samples |= model.targets([json.dumps([word]) for word in WORDS])
    optimizer = build_optimizer(model, 5e-3, 0.0)
    for _ in range(150):
        loss, _ = model(samples)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return objective, learned, model.eval(), samples


def test_overfits_one_batch(taught: Any) -> None:
    objective, learned, model, samples = taught
    arrays = {name: values.numpy() for name, values in model.predict(samples).items()}
    rows = objective.rows(arrays, learned)
    assert rows["transcript"].to_pylist() == WORDS
    sums = {name: value.item() for name, value in model.loss(samples)[1].items()}
    metrics = model.metrics(sums)
    assert (metrics["cer"], metrics["wer"], metrics["exact_match"]) == (0.0, 0.0, 1.0)
    assert (rows["score"].to_numpy() > np.log(0.5)).all(), "log-probabilities of what it is sure of"


def test_each_symbol_has_its_time_in_the_sound(taught: Any) -> None:
    objective, learned, model, samples = taught
    arrays = {name: values.numpy() for name, values in model.predict(samples).items()}
    for row, tokens in enumerate(objective.rows(arrays, learned)["tokens"].to_pylist()):
        assert "".join(token["symbol"] for token in tokens) == WORDS[row]
        ends = [token["end"] for token in tokens]
        assert all(token["start"] < token["end"] for token in tokens)
        assert all(a <= t["start"] + 1e-6 for a, t in zip(ends, tokens[1:], strict=False))
        assert ends[-1] <= 0.01 * (61 - 3 * row) + 0.03, "not behind the end of the sound"


@pytest.mark.parametrize("search", [{"kind": "greedy"}, {"kind": "beam"}])
@pytest.mark.parametrize("size", [1, 3, 8])
def test_a_text_is_the_same_whatever_the_batch(taught: Any, search: Any, size: int) -> None:
    _, _, model, samples = taught
    model.settings = config(search=search)
    whole = model.predict(samples)
    for start in range(0, len(WORDS), size):
        rows = slice(start, start + size)
        part = model.predict({name: values[rows] for name, values in samples.items()})
        for name, values in part.items():
            torch.testing.assert_close(values, whole[name][rows], rtol=1e-4, atol=1e-4)
    model.settings = config()


def test_what_is_masked_changes_nothing(taught: Any) -> None:
    _, _, model, samples = taught

    class Rubbish(torch.nn.Module):
        """Puts numbers where tokens are masked."""

        def __init__(self, encoder: Any, value: float) -> None:
            super().__init__()
            self.encoder, self.value = encoder, value

        def forward(self, values: torch.Tensor) -> Features:
            tokens, mask = self.encoder(values)
            return Features(torch.where(mask[..., None], tokens, self.value), mask)

    encoder = model.encoders["audio"]
    found = []
    for value in (0.0, 1e3, float("nan")):
        model.encoders["audio"] = Rubbish(encoder, value)
        model.zero_grad()
        loss = model.loss(samples)[0]
        loss.backward()
        gradient = model.head.weight.grad.clone()
        found.append({"loss": loss, "gradient": gradient, **model.predict(samples)})
    model.encoders["audio"] = encoder
    for other in found[1:]:
        assert all(torch.equal(values, other[name]) for name, values in found[0].items())


def test_a_sample_without_a_sound_says_nothing_and_teaches_nothing(taught: Any) -> None:
    objective, learned, model, samples = taught
    silent = {**samples, "audio_present": torch.arange(len(WORDS)) != 2}
    arrays = {name: values.numpy() for name, values in model.predict(silent).items()}
    rows = objective.rows(arrays, learned).slice(2, 1).to_pylist()[0]
    assert (rows["transcript"], rows["score"], rows["tokens"]) == ("", 0.0, [])
    assert model.loss(silent)[1]["too_short"] == 1


@pytest.mark.parametrize(
    "encoder",
    [
        {"kind": "sequence", "token_ms": 20, "layers": 1},
        {"kind": "sequence", "token_ms": 40, "layers": 1},
        {"kind": "crnn"},
        {"kind": "patches", "patch": 4, "stride": 2},
    ],
    ids=lambda encoder: "-".join(map(str, encoder.values())),
)
def test_what_is_too_short_to_teach_is_known_before_it_is_learned(
    encoder: dict[str, object],
) -> None:
    """The check of decoded samples says what the loss would find, for texts of any length."""
    sound = {"sample_rate_hz": 8000, "max_seconds": 0.6, "num_mels": 8, "encoder": encoder}
    modalities = ModalitiesConfig.model_validate({"audio": sound}).by_name()
    objective = config()
    vocabulary = learned_of(objective, *WORDS)
    learned = {**vocabulary, **objective.about_inputs(modalities)}
    samples = batch(16)
    network = modalities["audio"].build_encoder(32).eval()
    tokens = network(samples["audio"]).mask.sum(dim=1).tolist()
    check = objective.sample_check(modalities, learned)
    codec = modalities["audio"].codec(None)
    for more, refused in ((0, False), (1, True)):
        texts = [json.dumps([("on" * 40)[: count + more]]) for count in tokens]
        rows = Decoder.build(ModalitiesConfig.model_validate({"audio": sound}), None).schema
        columns = {
            name: pa.nulls(16, kind) for name, kind in zip(rows.names, rows.types, strict=True)
        }
        columns["audio"] = codec.to_arrow(list(samples["audio"].numpy()))
        columns["label"] = pa.array(texts)
        table = pa.table(columns)
        assert set(check(table)) == (set(range(16)) if refused else set())
        missing = pa.nulls(16, table.schema.field("audio").type)
        assert check(table.set_column(rows.names.index("audio"), "audio", missing)) == {}


def test_too_few_tokens_are_counted_and_the_loss_stays_a_number() -> None:
    objective = config()
    learned = learned_of(objective, *WORDS)
    model = network(objective, learned)
    samples = batch(2)
    samples |= model.targets([json.dumps(["o" * 20]), json.dumps(["no"])])
    loss, sums = model.train()(samples)
    loss.backward()
    assert torch.isfinite(loss)
    assert sums["too_short"] == 1, "20 equal symbols need 39 tokens, and there are 31"
    assert model.metrics({name: v.item() for name, v in sums.items()})["too_short"] == 0.5


def test_characters_that_the_vocabulary_lacks_are_counted() -> None:
    objective = config()
    model = network(objective, learned_of(objective, "one"))
    samples = batch(2) | model.targets([json.dumps(["öne"]), json.dumps(["nö"])])
    sums = {name: value.item() for name, value in model.loss(samples)[1].items()}
    assert model.metrics(sums)["lacking_characters"] == 2
    assert "lacking_characters" not in model.metrics({**sums, "lacking": 0.0})
    pieces = config(vocabulary={"kind": "bpe", "size": 260})
    learned = learned_of(pieces, "one", "none")
    assert network(pieces, learned).targets([json.dumps(["öne"])])["num_lacking"].tolist() == [0]


def test_pieces_of_words_are_learned_and_written() -> None:
    objective = config(vocabulary={"kind": "bpe", "size": 262})
    learned = learned_of(objective, *["one two", "two one"] * 5)
    model = network(objective, learned)
    targets = model.targets([json.dumps(["one two"])])
    symbols = targets["said"][0, : targets["num_symbols"][0]]
    assert model.head.out_features > int(symbols.max())
    assert (symbols > 0).all(), "none of them is the blank"
    arrays = {
        "symbols": (targets["said"] + 2).numpy().astype(np.float32),
        "first": np.zeros((1, targets["said"].shape[1]), np.float32),
        "behind": np.ones((1, targets["said"].shape[1]), np.float32),
        "score": np.zeros(1, np.float32),
        "embedding": np.zeros((1, 32), np.float32),
    }
    assert objective.rows(arrays, learned)["transcript"].to_pylist() == ["one two"]


def test_probabilities_behind_a_text_add_up_to_one_and_are_witten_and_bells() -> None:
    grams = learned_grams({(1, 2): 3, (1, 1): 1}, 4, LanguageConfig(order=2))
    for before in ([], [1], [2], [1, 2, 1, 1], [3, 3]):
        assert grams.probabilities(before).sum() == pytest.approx(1.0)
        assert (grams.probabilities(before) > 0).all()
    # Of 12 symbols 5 are 1, 3 are 2 and 4 are ends, three different ones; behind 1, 3 are 2, one is 1, one the end.
    unigram = [(5 + 3 / 4) / (12 + 3), (3 + 3 / 4) / 15]
    after_one = [(1 + 3 * unigram[0]) / (5 + 3), (3 + 3 * unigram[1]) / 8]
    assert grams.probabilities([1])[1:3] == pytest.approx(after_one)


def test_counts_are_bounded_kept_and_the_same_again() -> None:
    random = np.random.default_rng(0)
    texts = {
        tuple(random.integers(1, 9, 12).tolist()): int(random.integers(1, 5)) for _ in range(99)
    }
    grams = learned_grams(texts, 9, LanguageConfig(order=4, most=100))
    assert len(grams.counts) == 100
    assert all(gram[1:] in grams.counts for gram in grams.counts if len(gram) > 1)
    shuffled = dict(reversed(texts.items()))
    assert learned_grams(shuffled, 9, LanguageConfig(order=4, most=100)).counts == grams.counts
    again = Grams.from_json(json.loads(json.dumps(grams.to_json())))
    assert again.counts == grams.counts
    for before in ([], [3], [1, 2, 3, 4]):
        assert again.probabilities(before).tolist() == grams.probabilities(before).tolist()
        assert again.probabilities(before).sum() == pytest.approx(1.0)


def test_the_language_of_the_training_texts_turns_what_is_heard_badly() -> None:
    settings = {"kind": "beam", "language": {"order": 4, "weight": 1.0}}
    objective = config(search=settings)
    learned = learned_of(objective, *["seven", "eleven"] * 9, "sieve")
    words = objective.words(learned)
    grams = Grams.from_json(learned["language"])
    heard = np.full((9, grams.size), -9.0, np.float32)
    for token, symbol in zip(range(0, 9, 2), outputs_for("sevin", words), strict=True):
        heard[token, symbol] = -0.6
    heard[6, outputs_for("e", words)[0]] = -0.9
    heard[1::2, 0] = 0.0
    assert prefix_search(heard, 16, 16) == outputs_for("sevin", words)
    fusion = Fusion(grams, LanguageConfig(order=4, weight=1.0))
    assert prefix_search(heard, 16, 16, fusion) == outputs_for("seven", words)


def tree(modalities: Mapping[str, Any]) -> dict[str, Any]:
    return {"run": "r", "modalities": modalities, "objective": {"kind": "transcribe"}}


@pytest.mark.parametrize(
    ("modalities", "what"),
    [
        ({"image": {}}, "no encoder of modalities.image (image) has"),
        ({"audio": {}}, "set modalities.audio.encoder.kind to one of patches, crnn, sequence"),
        ({"audio": {"encoder": {"kind": "statistics"}}}, "statistics does not tell when"),
        ({"audio": {"encoder": {"kind": "crnn"}}, "text": {}}, "listens to one modality"),
    ],
)
def test_modalities_without_time_are_refused_by_what_they_lack(
    modalities: Mapping[str, Any], what: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        validate(tree(modalities))
    assert what in str(caught.value)


@pytest.mark.parametrize("kind", ["patches", "crnn", "sequence"])
def test_any_encoder_with_times_will_do(kind: str) -> None:
    validated = validate(tree({"audio": {"encoder": {"kind": kind}}}))
    about = validated.require_objective().about_inputs(validated.modalities.by_name())
    assert about["seconds_per_token"] > 0


def test_an_encoder_with_too_few_tokens_is_refused_before_it_is_trained() -> None:
    objective = config()
    learned = learned_of(objective, "a" * 16, "b" * 16, "c")
    assert (learned["tokens_needed"], learned["max_tokens"]) == (31, 31)
    objective.check_learned(learned)
    with pytest.raises(
        ConfigError, match="need 33 tokens or more, and the encoder has 31 of 20 ms"
    ):
        objective.check_learned(learned_of(objective, "a" * 17, "b" * 17, "c"))


def judged(**said: list[str]) -> dict[str, Any]:
    objective = config()
    learned = learned_of(objective, "one", "one", "two")
    evaluation = objective.evaluation(learned, Judging("test", 0, 50))
    references = [json.dumps(["one"]), json.dumps(["two words", "too"]), json.dumps(["thræe"])]
    predictions = {"audio": pa.table({"transcript": said["audio"]})}
    evaluation.update(references, predictions, {"audio": np.array([True, True, True])})
    return evaluation.compute().to_json()


def test_a_split_is_judged_by_the_errors_of_all_its_texts() -> None:
    found = judged(audio=["one", "to", "three"])
    overall = found["overall"]
    assert overall["cer"] == pytest.approx(2 / (3 + 3 + 5))
    assert overall["wer"] == pytest.approx(2 / 3)
    assert overall["exact_match"] == pytest.approx(1 / 3)
    assert overall["intervals"].keys() == {"cer", "wer", "exact_match"}
    # "one" against one, two words (eight of nine, fewer than three of three) and thræe (four of five).
    assert overall["cer_of_most_frequent"] == pytest.approx((0 + 8 + 4) / (3 + 9 + 5))
    assert found["most_frequent"] == "one"
    assert found["lacking_characters"]["æ"] == 1


def test_two_models_are_compared_on_the_same_samples() -> None:
    objective = config()
    label = pa.array([["one"], ["two"], ["three"]], pa.list_(pa.string()))
    first, second = (
        pa.table({LABEL: label, "transcript": said})
        for said in (["one", "", "three"], ["one", "two", "thre"])
    )
    difference = objective.difference(first, second, {}, Judging("test", 0, 50))
    assert difference["difference"] == pytest.approx(2 / 11)
    scores = objective.sample_scores(first, {})
    assert scores.values.mean() == pytest.approx(3 / 11), "the rate of the corpus"


def test_the_page_lays_transcripts_beside_their_texts_the_worst_first() -> None:
    section = config().section()
    rows = pa.table(
        {
            LABEL: pa.array([["one"], ["two", "too"], ["three"]], pa.list_(pa.string())),
            "transcript": ["one", "toe", "zzz"],
            "tokens": [[{"symbol": "o", "start": 0.1, "end": 0.2}], [], []],
            KEY: ["a", "b", "c"],
            SHARD: ["s", "s", "s"],
        }
    )
    from pipeline.metrics.record import EvaluationRecord

    groups = section.metrics(EvaluationRecord(), rows).values["groups"]
    worst, best = groups.values()
    assert [row.key for row in worst] == ["c", "b"]
    assert [row.key for row in best] == ["a"]
    assert best[0].times == [("o", 0.1, 0.2)]
    assert "".join(piece.reference for piece in worst[1].stretches) == "too", "the nearest"
    chosen = section.choose(rows, EvaluationRecord(), 1)
    assert [(judgement.key, judgement.right) for judgement in chosen] == [
        ("c", False),
        ("b", False),
    ]


def test_nights_are_compared_by_lengths_and_by_what_is_empty() -> None:
    rows = pa.table(
        {
            "transcript": ["", "ab", "a" * 500],
            "tokens": [[], [{"symbol": "a", "start": 0.0, "end": 0.04}], []],
        }
    )
    sums = config().summary(rows, {})
    assert sums["transcript_is_empty"] == {"empty": 1, "not empty": 2}
    assert sums["transcript_length"][0] == 1
    assert sums["transcript_length"][-1] == 1
    assert sum(sums["token_milliseconds"]) == 1
