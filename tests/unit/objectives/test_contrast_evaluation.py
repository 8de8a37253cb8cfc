"""What an evaluation of a shared space says, against loops; its columns; what the page shows of it."""

import itertools
import json

import numpy as np
import pyarrow as pa
import pytest

from pipeline.errors import ConfigError
from pipeline.metrics.record import EvaluationRecord
from pipeline.objectives.base import Judging
from pipeline.objectives.classify import ClassifyConfig
from pipeline.objectives.columns import in_half
from pipeline.objectives.contrast import ContrastConfig, rows
from pipeline.objectives.contrast.plots import layout, principal_components, space_map
from pipeline.objectives.contrast.targets import NamesTarget
from pipeline.objectives.evaluation import Prompts, TrainingSplit
from pipeline.sample import Field, Sample

NAMES = ("image", "text", "audio")
N, D = 30, 4
LEARNED = {"embeds": list(NAMES)}


def unit(values: np.ndarray) -> np.ndarray:
    return values / np.linalg.norm(values, axis=-1, keepdims=True)


@pytest.fixture(scope="module")
def space() -> tuple[np.ndarray, np.ndarray]:
    """Embeddings (N, M, D), zeros where missing, and (N, M) bool."""
    random = np.random.default_rng(0)
    means = random.normal(size=(N, 1, D))
    values = unit(means + 0.7 * random.normal(size=(N, 3, D)))
    has = random.random((N, 3)) > 0.25
    has[~has.any(axis=1), 0] = True
    return (values * has[..., None]).astype(np.float32), has


LABELS = ["ab"[i % 2] if i % 5 else None for i in range(N)]
GROUPS = ["g" if i in (3, 8) else None for i in range(N)]
TEXTS = [
    json.dumps({k: v for k, v in (("label", label), ("group", group)) if v})
    for label, group in zip(LABELS, GROUPS, strict=True)
]


def table(values: np.ndarray) -> pa.Table:
    arrays = {f"{name}_embedding": values[:, place] for place, name in enumerate(NAMES)}
    arrays["embedding"] = rows.joined([values[:, place] for place in range(3)]).astype(np.float32)
    return rows.table(arrays, NAMES)


def evaluated(
    space: tuple[np.ndarray, np.ndarray], prompts: Prompts | None = None, num_bootstrap: int = 50
) -> EvaluationRecord:
    values, has = space
    evaluation = ContrastConfig(label="cls").evaluation(LEARNED, Judging("test", 0, num_bootstrap))
    evaluation.prompts = prompts
    contents = {name: np.arange(1, N + 1) for name in NAMES}
    contents["text"] = np.where(np.arange(N) == 12, 5, contents["text"])  # the text of 4 again
    contents = {name: np.where(has[:, p], contents[name], 0) for p, name in enumerate(NAMES)}
    whole = table(values).drop_columns(["embedding"])
    for cut in (slice(0, 11), slice(11, N)):
        evaluation.update(
            TEXTS[cut],
            {"image+text+audio": whole.slice(cut.start, cut.stop - cut.start)},
            {name: has[cut, place] for place, name in enumerate(NAMES)},
            {name: digests[cut] for name, digests in contents.items()},
        )
    return evaluation.compute()


def same(i: int, j: int, has: np.ndarray) -> bool:
    texts = {4, 12} == {i, j} and has[i, 1] and has[j, 1]
    return i == j or {i, j} == {3, 8} or bool(texts)


def hits(space: tuple[np.ndarray, np.ndarray], a: int, b: int, count: int) -> dict[int, bool]:
    """Query -> whether an answer is among the first, what is no answer first among equals."""
    values, has = space
    found = {}
    for i in range(N):
        if has[i, a] and has[i, b]:
            similar = {
                j: round(float(values[i, a].astype(float) @ values[j, b].astype(float)), 9)
                for j in range(N)
                if has[j, b]
            }
            order = sorted(similar, key=lambda j: (-similar[j], same(i, j, has)))
            found[i] = any(same(i, j, has) for j in order[:count])
    return found


def test_numbers_by_brute_force(space: tuple[np.ndarray, np.ndarray]) -> None:
    record = evaluated(space)
    written = record.to_json()
    again = EvaluationRecord.from_json(json.loads(json.dumps(written, allow_nan=False)))
    assert again == record
    flat = ContrastConfig().flat(record)
    directions = list(itertools.permutations(range(3), 2))
    for count in (1, 5, 10):
        of_direction = {pair: hits(space, *pair, count) for pair in directions}
        for (a, b), found in of_direction.items():
            name = f"recall_at_{count}_{NAMES[a]}_to_{NAMES[b]}"
            assert flat[name] == pytest.approx(np.mean(list(found.values()))), name
        for subset in ("image", "image+audio", "image+text+audio"):
            asking = [NAMES.index(name) for name in subset.split("+")]
            of_sample = [
                np.mean(own)
                for i in range(N)
                if (
                    own := [
                        of_direction[a, b][i]
                        for a, b in directions
                        if a in asking and i in of_direction[a, b]
                    ]
                )
            ]
            if count == 5:
                assert flat[f"recall_at_5_{subset}"] == pytest.approx(np.mean(of_sample))
        assert flat[f"recall_at_{count}"] == pytest.approx(np.mean(of_sample))
    for name in ("recall_at_5", "mean_average_precision", "median_rank"):
        low, high = record.overall.interval_of(name)
        assert low <= flat[name] <= high
        assert low < high
    assert record.subsets["image+text+audio"].difference == 0.0
    assert record.subsets["text"].num_samples == space[1][:, 1].sum()


def test_gaps_are_the_distance_of_means(space: tuple[np.ndarray, np.ndarray]) -> None:
    values, has = space
    gaps = evaluated(space).details["gaps"]
    both = [i for i in range(N) if has[i, 0] and has[i, 1]]
    left, right = values[both, 0].astype(float), values[both, 1].astype(float)
    apart = np.sqrt(sum((left[:, d].mean() - right[:, d].mean()) ** 2 for d in range(D)))
    assert gaps["image+text"]["distance"] == pytest.approx(apart)
    pairs = [left[i] @ right[i] for i in range(len(both))]
    others = [left[i] @ right[j] for i, j in itertools.permutations(range(len(both)), 2)]
    assert gaps["image+text"]["similarity_of_pairs"] == pytest.approx(np.mean(pairs))
    assert gaps["image+text"]["similarity_of_strangers"] == pytest.approx(np.mean(others))


def test_classes_by_texts(space: tuple[np.ndarray, np.ndarray]) -> None:
    values, has = space
    random = np.random.default_rng(5)
    texts = np.zeros((4, 3, D), np.float32)
    texts[:, 1] = unit(random.normal(size=(4, D)))
    prompts = Prompts("text", ["b", "a", "b", "c"], table(texts))
    found = evaluated(space, prompts).details["zero_shot"]
    assert set(found) == {"image", "audio", "all"}, "not the modality of the prompts themselves"
    classes = {
        name: unit(sum(texts[i, 1].astype(float) for i in range(4) if prompts.classes[i] == name))
        for name in "bac"
    }
    right = []
    for i in range(N):
        if has[i, 0] and LABELS[i] is not None:
            said = max(classes, key=lambda name: values[i, 0].astype(float) @ classes[name])
            right.append(said == LABELS[i])
    assert found["image"]["zero_shot_accuracy"] == pytest.approx(np.mean(right))
    assert found["image"]["num_samples"] == len(right)
    assert found["image"]["by_chance"] == pytest.approx(1 / 3)
    assert "zero_shot" not in evaluated(space).details


def test_probes_are_fitted_on_the_training_split_where_it_is_there(
    space: tuple[np.ndarray, np.ndarray],
) -> None:
    values, has = space
    evaluation = ContrastConfig(label="cls").evaluation(LEARNED, Judging("test", 0, 9))
    evaluation.update(
        TEXTS, {"image+text+audio": table(values)}, dict(zip(NAMES, has.T, strict=True)), {}
    )
    within = evaluation.compute().details["probes"]
    assert within["image"]["fitted_on"] == "folds"
    # Samples that lie where these do, and of which each says the other label.
    swapped = [text.replace('"a"', '"c"').replace('"b"', '"a"') for text in TEXTS]
    asked = []

    def training() -> TrainingSplit:
        asked.append(1)
        return TrainingSplit([text.replace('"c"', '"b"') for text in swapped], table(values))

    ContrastConfig().fitted(evaluation, training)
    assert not asked, "nothing is fitted without labels"
    ContrastConfig(label="cls").fitted(evaluation, training)
    fitted = evaluation.compute().details["probes"]
    labelled = sum(label is not None and bool(has[i, 0]) for i, label in enumerate(LABELS))
    assert fitted["image"]["fitted_on"] == "train"
    assert fitted["image"]["num_fitted"] == fitted["image"]["num_samples"] == labelled
    assert fitted["image"]["linear_probe_accuracy"] < 0.5 < 1 - fitted["all"]["knn_accuracy"]
    evaluation.training = TrainingSplit(["{}"] * N, table(values))
    assert evaluation.compute().details["probes"] == within, "of a split without labels"


def test_an_objective_without_texts_refuses_prompts() -> None:
    objective = ClassifyConfig(label="cls")
    evaluation = objective.evaluation({"classes": ["a", "b"]}, Judging("test", 0, 9))
    with pytest.raises(ConfigError, match=r"evaluate\.prompts"):
        objective.prompted(evaluation, lambda: pytest.fail("no prompt is embedded for it"))


def test_a_better_model_is_told_from_another(space: tuple[np.ndarray, np.ndarray]) -> None:
    values, has = space
    perfect = np.repeat(unit(np.random.default_rng(1).normal(size=(N, 1, D))), 3, axis=1)
    better = table((perfect * has[..., None]).astype(np.float32))
    found = ContrastConfig().difference(better, table(values), {}, Judging("test", 0, 200))
    assert found["difference"] > 0.1
    assert found["difference_interval"][0] > 0


def test_columns_are_null_where_a_modality_is_missing_in_half_precision_too(
    space: tuple[np.ndarray, np.ndarray],
) -> None:
    values, has = space
    written = table(values)
    assert written.schema == pa.schema(ContrastConfig(embedding_width=D).schema(LEARNED))
    for place, name in enumerate(NAMES):
        column = written[f"{name}_embedding"].combine_chunks()
        assert column.is_valid().to_pylist() == has[:, place].tolist()
        again, present = rows.vectors(column.slice(3))
        np.testing.assert_array_equal(again, values[3:, place].astype(np.float64))
        np.testing.assert_array_equal(present, has[3:, place])
        half = in_half(column.slice(2, 9))
        assert half.type == pa.list_(pa.float16(), D)
        assert half.is_valid().to_pylist() == has[2:11, place].tolist()
        np.testing.assert_allclose(rows.vectors(half)[0], values[2:11, place], atol=1e-3)


def test_galleries_show_what_is_nearest(space: tuple[np.ndarray, np.ndarray]) -> None:
    values, has = space
    record = evaluated(space)
    section = ContrastConfig().section()
    predicted = table(values)
    for name in ("key", "shard"):
        predicted = predicted.append_column(name, pa.array([f"{name}{i}" for i in range(N)]))
    chosen = section.choose(predicted, record, 8)
    headings = list(dict.fromkeys(judgement.heading for judgement in chosen))
    assert len(headings) == 6
    for heading in headings:
        asks, finds = heading.split(" finds ")
        cards = [judgement for judgement in chosen if judgement.heading == heading]
        assert len(cards) == 8, "two queries and three neighbours each"
        query, *nearest = cards[:4]
        assert query.only == (asks,)
        row = int(query.key[3:])
        similar = values[:, NAMES.index(finds)].astype(float) @ values[row, NAMES.index(asks)]
        similar[~has[:, NAMES.index(finds)]] = -2
        best = sorted(similar, reverse=True)[:3]
        assert [similar[int(card.key[3:])] for card in nearest] == pytest.approx(best)
        for card in nearest:
            assert card.only == (finds,)
            assert card.right == (True if card.key == query.key else None)
    assert section.choose(predicted, record, 0) == []


def test_a_map_is_by_principal_components(space: tuple[np.ndarray, np.ndarray]) -> None:
    from sklearn.decomposition import PCA

    values, has = space
    flat = values[has].astype(float)
    along, shares = principal_components(flat)
    twin = PCA(2).fit(flat)
    assert shares == pytest.approx(twin.explained_variance_ratio_)
    assert np.abs(along) == pytest.approx(np.abs(twin.transform(flat)))
    columns = {name: (values[:, p].astype(float), has[:, p]) for p, name in enumerate(NAMES)}
    plot = space_map(columns)
    assert plot is not None
    assert all(name in plot.svg for name in NAMES)
    assert space_map({name: (v[:1], h[:1] & False) for name, (v, h) in columns.items()}) is None


def test_a_map_is_by_tsne_where_it_is_installed() -> None:
    pytest.importorskip("openTSNE")
    random = np.random.default_rng(0)
    clouds = unit(np.repeat(np.eye(6), 20, axis=0) + 0.1 * random.normal(size=(120, 6)))
    found = layout(clouds)
    assert found.method == "t-SNE"
    np.testing.assert_array_equal(found.points, layout(clouds).points)
    apart = np.linalg.norm(found.points[:, None] - found.points[None], axis=-1)
    nearest = np.argsort(apart, axis=1)[:, 1:6] // 20
    assert (nearest == np.arange(120)[:, None] // 20).mean() > 0.95, (
        "two directions keep two of six"
    )
    assert layout(clouds[:3]).method == "PCA", "too few for neighbours"


def test_names_are_read_where_there_are_any() -> None:
    def sample(**fields: str) -> Sample:
        members = {k: Field(memoryview(v.encode()), 0, len(v)) for k, v in fields.items()}
        return Sample("k", "x.tar", 0, members)

    target = NamesTarget("json.who", "sku")
    assert target.places == ("json.who", "sku")
    assert target.read(sample(json='{"who": "me"}', sku="7")) == '{"group": "7", "label": "me"}'
    assert target.read(sample(json="{}")) == "{}"
    assert target.accept(None) == "{}"
    section = ContrastConfig().section()
    assert section.label('{"group": "7", "label": "me"}') == "me"
    counted = section.targets({"train": {'{"label": "a"}': 3, '{"label": "b"}': 1, "{}": 2}})
    assert counted.rows == {"train": [2]}
