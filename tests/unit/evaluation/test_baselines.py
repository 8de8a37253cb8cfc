"""Cheap models, against scikit-learn called by hand."""

import numpy as np
import pyarrow as pa
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from pipeline.engine.comparing.baselines import _array, _kept
from pipeline.engine.evaluating.training_split import some
from pipeline.evaluation.baselines import FUSED, Split, fitted_entrants
from pipeline.evaluation.judged import Entrant, Judged
from pipeline.metrics.record import EvaluationRecord
from pipeline.modalities.codecs import standard_scaler
from pipeline.modalities.facets import CheapFeatures
from pipeline.modalities.text import TextConfig
from pipeline.modalities.vector import VectorConfig
from pipeline.objectives.base import Judging
from pipeline.objectives.classify import ClassifyConfig
from pipeline.shards.planning.plan import Part

WORDS = {"cat": ["a cat sat", "cats purr", "my cat"], "dog": ["a dog ran", "dogs bark", "my dog"]}
NUMBERS = {"cat": 1.0, "dog": -1.0}
LEARNED: dict[str, object] = {"classes": ["cat", "dog"]}


def features() -> dict[str, CheapFeatures]:
    text = TextConfig(max_tokens=4).cheap_features()
    vector = VectorConfig(shape=(2,))
    return {
        "text": text,
        "vec": CheapFeatures("values", vector.codec(None), np.asarray, standard_scaler),
    }


def split(labels: list[str], lacks: dict[str, list[int]], seed: int) -> Split:
    rng = np.random.default_rng(seed)
    texts = np.array([WORDS[label][index % 3] for index, label in enumerate(labels)], object)
    numbers = np.array([[NUMBERS[label], 0.0] for label in labels]) + rng.normal(
        0, 2, (len(labels), 2)
    )
    present = {
        name: np.isin(np.arange(len(labels)), lacks.get(name, []), invert=True)
        for name in ("text", "vec")
    }
    modalities = [[name for name in present if present[name][row]] for row in range(len(labels))]
    rows = {
        "key": [f"k{index:02d}" for index in range(len(labels))],
        "shard": ["x.tar"] * len(labels),
        "modalities": modalities,
        "label": labels,
    }  # fmt: skip
    return Split(pa.table(rows), {"text": texts, "vec": numbers.astype(np.float32)}, present)


@pytest.fixture(scope="module")
def train() -> Split:
    return split(["cat", "dog", "cat", "dog", "cat"] * 8, {"text": [0, 7], "vec": [1]}, 0)


@pytest.fixture(scope="module")
def test_split() -> Split:
    return split(["cat", "dog", "dog", "cat", "dog", "cat"], {"text": [1, 2], "vec": [2, 3]}, 1)


@pytest.fixture(scope="module")
def entrants(train: Split, test_split: Split) -> dict[str, Entrant]:
    objective = ClassifyConfig()
    like = Judged("runs/a", objective, LEARNED, EvaluationRecord(), pa.table({}))
    baselines = objective.baselines(LEARNED, 0)
    found = fitted_entrants(baselines, features(), train, test_split, like, Judging("test", 0, 50))
    return {entrant.name: entrant for entrant in found}


def probabilities(entrant: Entrant) -> np.ndarray:
    return np.array(entrant.models[0].rows["probabilities"].to_pylist())


TEXT, VEC = "text: character n-grams, logistic regression", "vec: values, logistic regression"


def test_the_guess_is_the_majority(entrants: dict[str, Entrant]) -> None:
    assert set(entrants) == {"majority class", TEXT, VEC, FUSED}
    assert all(entrant.baseline for entrant in entrants.values())
    np.testing.assert_allclose(probabilities(entrants["majority class"]), [[0.6, 0.4]] * 6)
    # Of five samples: one has no modality, and there is nothing to judge a model of them by.
    assert entrants["majority class"].models[0].record.overall.metrics["accuracy"] == 0.6


def test_a_model_is_fitted_on_the_training_split_alone(
    entrants: dict[str, Entrant], train: Split, test_split: Split
) -> None:
    vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 4), sublinear_tf=True)
    there = train.present["text"]
    seen = vectorizer.fit_transform(train.kept["text"][there])
    model = LogisticRegression(C=10, max_iter=1000).fit(seen, np.array(train.texts)[there])
    by_hand = model.predict_proba(vectorizer.transform(test_split.kept["text"]))
    by_hand[[1, 2]] = [0.6, 0.4]  # samples without a text are guessed
    np.testing.assert_allclose(probabilities(entrants[TEXT]), by_hand, atol=1e-6)


def test_late_fusion_is_the_mean_over_what_a_sample_has(entrants: dict[str, Entrant]) -> None:
    text, vec = (probabilities(entrants[name]) for name in (TEXT, VEC))
    by_hand = (text + vec) / 2
    by_hand[1], by_hand[2], by_hand[3] = vec[1], [0.6, 0.4], text[3]
    np.testing.assert_allclose(probabilities(entrants[FUSED]), by_hand, atol=1e-6)


def test_what_is_kept_of_a_part_comes_back() -> None:
    parts = features()
    columns = {
        "text": parts["text"].codec.to_arrow([np.array("a b", object), None]),
        "vec": parts["vec"].codec.to_arrow([None, np.array([1, 2], np.float32)]),
    }
    parts["vec"] = CheapFeatures("sum", parts["vec"].codec, _sums, standard_scaler)
    kept = _kept(parts, pa.table(columns))
    assert kept["text"].to_pylist() == ["a b", None]
    assert kept["vec"].is_valid().to_pylist() == [False, True]
    joined = pa.concat_tables([kept, kept.slice(1)])
    assert _array(joined["text"]).tolist() == ["a b", "", ""]
    assert _array(joined["vec"])[1:].tolist() == [[3.0], [3.0]]


def _sums(values: np.ndarray) -> np.ndarray:
    return values[:, 0].sum(axis=1, keepdims=True).astype(np.float32)


def test_enough_parts_are_drawn_by_the_seed() -> None:
    parts = [Part(f"{index}.tar", "", f"{index}", num_samples=10) for index in range(20)]
    drawn = some(parts, 35, seed=1)
    assert len(drawn) == 4
    assert drawn == some(parts, 35, seed=1)
    assert drawn != some(parts, 35, seed=2)
    assert sorted(part.shard for part in some(parts, 10_000, 0)) == sorted(p.shard for p in parts)
