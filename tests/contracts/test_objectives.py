"""What jobs ask of every objective of the union, asked of each: what is listed there is tested from then on."""

from __future__ import annotations

import json
import pickle
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.torch import save

from pipeline.errors import ConfigError, SampleError
from pipeline.metrics.record import EvaluationRecord
from pipeline.metrics.statistics import add_sums
from pipeline.metrics.subsets import subset_name
from pipeline.modalities import ModalitiesConfig
from pipeline.modalities.chance import CHANCE
from pipeline.modalities.decoding.targets import Target, fields_at
from pipeline.models.bundle import Bundle
from pipeline.nightly.drift import Profile, drift
from pipeline.objectives import kinds
from pipeline.objectives.base import EMBEDDING, Judging, Learned, ObjectiveSection
from pipeline.objectives.sealed import (
    build,
    check_objective,
    objective_of,
    prediction_fields,
    restore,
)
from pipeline.reports.content import ReportData, SplitCounts
from pipeline.reports.page import render
from pipeline.sample import ERROR, ERROR_TYPE, LABEL, MODALITIES, Field, Sample

KINDS = kinds()
# Targets of all that there may be; of each objective, those serve that it can learn from.
TARGETS = (
    ["a", "b", "b", "a", "b", "a"],
    ["1.5", "2", "-3e1", "4", "0", "7.25"],
    ['["a"]', '["a", "b"]', "[]", '["b"]', '["b"]', '["a"]'],
)
# What samples may have; of each objective, the first serve that it takes.
TIMED = {"encoder": {"kind": "sequence"}, "sample_rate_hz": 8000, "max_seconds": 0.5, "num_mels": 8}
MODALITIES_CONFIGS = [
    ModalitiesConfig.model_validate(tree)
    for tree in (
        {"image": {"size": 8}, "text": {"vocab_size": 300, "max_tokens": 4}},
        {"audio": TIMED},
    )
]
JUDGING = Judging("test", 0, 20)
INTERVALS = "Lines are 95 % bootstrap intervals"
B = 6


def sample(**fields: str) -> Sample:
    encoded = {name: text.encode() for name, text in fields.items()}
    members = {name: Field(memoryview(data), 0, len(data)) for name, data in encoded.items()}
    return Sample("k", "x.tar", 0, members)


def holding(objective: ObjectiveSection, text: str) -> Sample:
    """A sample that has a text wherever the objective looks, unless told otherwise."""
    target = objective.targets()
    return sample(**dict.fromkeys(("cls",) if target is None else target.places, text))


def surveyed(objective: ObjectiveSection, texts: list[str | None]) -> Any:
    survey = objective.survey()
    for text in texts:
        survey.add(holding(objective, text), 64)
    return survey


def rounded(learned: Learned) -> str:
    """Without the last digits of numbers, which depend on how a sum was shared."""
    return json.dumps(
        json.loads(json.dumps(learned), parse_float=lambda text: f"{float(text):.9g}")
    )


def modalities_of(objective: ObjectiveSection) -> ModalitiesConfig:
    for config in MODALITIES_CONFIGS:
        with suppress(ValueError):
            objective.check_inputs(config.by_name())
            return config
    raise AssertionError(f"{objective.kind} takes none of the modalities here")


def names_of(objective: ObjectiveSection) -> list[str]:
    return list(modalities_of(objective).by_name())


def subsets_of(objective: ObjectiveSection) -> list[str]:
    names = names_of(objective)
    sizes = range(1, len(names) + 1)
    return [subset_name(chosen) for size in sizes for chosen in combinations(names, size)]


def whole_of(objective: ObjectiveSection) -> str:
    return subset_name(names_of(objective))


def fitting(objective: ObjectiveSection) -> Iterator[list[str]]:
    for texts in TARGETS:
        try:
            objective.learn(surveyed(objective, texts))
        except (ConfigError, SampleError):
            continue
        yield texts


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: kind.__name__)
def objective(request: pytest.FixtureRequest) -> ObjectiveSection:
    """With its defaults: the kind is all that it must be told."""
    return request.param(width=32)


@pytest.fixture(scope="module")
def written(objective: ObjectiveSection) -> list[str]:
    """Targets as they are written in a field."""
    return next(fitting(objective))


@pytest.fixture(scope="module")
def learned(objective: ObjectiveSection, written: list[str]) -> Learned:
    inputs = objective.about_inputs(modalities_of(objective).by_name())
    return {**objective.learn(surveyed(objective, written)), **inputs}


@pytest.fixture(scope="module")
def texts(objective: ObjectiveSection, written: list[str], learned: Learned) -> list[str | None]:
    """Canonical ones; none of an objective without targets."""
    target = objective.targets(learned)
    return [None if target is None else target.read(holding(objective, text)) for text in written]


def targets_of(objective: ObjectiveSection, learned: Learned | None = None) -> Target:
    """Its targets; a test of what is read ends for an objective that reads nothing unless told to."""
    target = objective.targets(learned)
    if target is None:
        pytest.skip("reads nothing beside the modalities, unless told to")
    return target


@pytest.fixture(scope="module")
def network(objective: ObjectiveSection, learned: Learned) -> Any:
    torch.manual_seed(0)
    return build(objective, modalities_of(objective), learned)


def make_batch(objective: ObjectiveSection) -> dict[str, torch.Tensor]:
    """Samples of which the first has no text, where there are images."""
    generator = torch.Generator().manual_seed(0)
    values = {
        "image": torch.randint(0, 256, (B, 8, 8, 3), generator=generator, dtype=torch.uint8),
        "text": torch.randint(1, 50, (B, 4), generator=generator),
        "audio": torch.randn(B, 8, 51, generator=generator).half(),
    }
    batch = {name: values[name] for name in names_of(objective)}
    for name in names_of(objective):
        batch[f"{name}_present"] = torch.arange(B) > (0 if name == "text" else -1)
    return batch


@pytest.fixture(scope="module")
def arrays(network: Any, objective: ObjectiveSection) -> dict[str, np.ndarray]:
    predicted = network.eval().predict(make_batch(objective))
    return {name: values.numpy() for name, values in predicted.items()}


def test_a_target_is_read_once_and_accepted_again(
    objective: ObjectiveSection, learned: Learned, texts: list[str | None]
) -> None:
    for target in (targets_of(objective), targets_of(objective, learned)):
        again = pickle.loads(pickle.dumps(target))
        assert again == target
        assert [again.accept(text) for text in texts] == texts
        assert json.loads(json.dumps(target.identity)) == target.identity
        assert target.places
        with pytest.raises(SampleError) as caught:
            target.read(sample(other="x"))
        with pytest.raises(SampleError) as of_a_row:
            target.accept(None)
        for error in (caught.value, of_a_row.value):
            assert (error.reason, error.setting) == ("missing_label", target.setting)


def test_a_target_reads_its_places_alone(objective: ObjectiveSection, written: list[str]) -> None:
    """A survey reads no other member."""
    target = targets_of(objective)
    for text in written:
        whole = sample(cls=text, txt=text, other="x", json='{"a": 1}')
        needed = fields_at(target.places)
        spared = {
            name: field if name in needed else Field(memoryview(b""), field.offset, field.size)
            for name, field in whole.fields.items()
        }
        assert target.read(replace(whole, fields=spared)) == target.read(whole)


def test_a_survey_may_be_shared_and_what_it_teaches_is_json(
    objective: ObjectiveSection, written: list[str], texts: list[str | None], learned: Learned
) -> None:
    shared = surveyed(objective, written[:2])
    shared.merge(pickle.loads(pickle.dumps(surveyed(objective, written[2:]))))
    again = objective.survey()
    for text in texts:
        again.add_text(text or "")  # as rows that preprocess wrote
    inputs = objective.about_inputs(modalities_of(objective).by_name())
    target = objective.targets(learned)
    for survey in (shared, again):
        assert survey.count == len(written)
        assert rounded({**objective.learn(survey), **inputs}) == rounded(learned)
        assert target is None or not survey.refused(target)
    assert json.loads(json.dumps(learned)) == learned
    if target is not None:
        with pytest.raises(ConfigError):
            objective.learn(objective.survey())


def test_it_learns_from_a_batch(
    network: Any, texts: list[str | None], objective: ObjectiveSection
) -> None:
    batch = make_batch(objective) | network.targets(texts)
    assert all(len(values) == B for values in batch.values())
    network.train()
    sums: dict[str, float] = {}
    for turn in network.turns:
        loss, counted = network(batch, getattr(turn, "name", turn))
        loss.backward()
        assert torch.isfinite(loss)
        for name, value in counted.items():
            assert value.dtype == torch.float64
            assert value.ndim == 0
            assert not value.requires_grad
            sums[name] = value.item()
    for name, weight in network.named_parameters():
        assert weight.grad is None or torch.isfinite(weight.grad).all(), name
    metrics = network.metrics(sums)
    json.dumps(metrics, allow_nan=False)
    row = {f"train_{name}": value for name, value in metrics.items()}
    assert objective.score.column(row) in row, "an epoch without a validation split has a rank too"
    observed = {name: value.numpy() for name, value in network.eval().observed(batch).items()}
    metrics |= network.judged(observed) if observed else {}
    assert objective.score.name in metrics


def test_the_loss_of_a_batch_is_the_mean_of_its_pieces_unless_it_says_otherwise(
    network: Any, texts: list[str | None], objective: ObjectiveSection
) -> None:
    batch = make_batch(objective) | network.targets(texts) | {CHANCE: torch.arange(B)}
    network.eval()
    cut = B // 3
    cuts = slice(cut), slice(cut, None)
    halves = [{name: values[rows] for name, values in batch.items()} for rows in cuts]
    for turn in network.turns:
        whole, counted = network.loss(batch, turn.name)
        parts = [network.loss(half, turn.name) for half in halves]
        mean = (cut * parts[0][0] + (B - cut) * parts[1][0]) / B
        same = torch.allclose(mean, whole, rtol=1e-3, atol=1e-5)
        if not network.divisible:
            assert not same
            continue
        assert same, (turn.name, float(mean), float(whole))
        for name, value in counted.items():
            added = parts[0][1][name] + parts[1][1][name]
            torch.testing.assert_close(added, value, rtol=1e-3, atol=1e-4)


def test_a_validation_batch_is_predicted_once(
    network: Any, texts: list[str | None], objective: ObjectiveSection
) -> None:
    batch = make_batch(objective) | network.targets(texts)
    network.eval()
    passes = Counter[str]()
    hooks = [
        encoder.register_forward_hook(lambda *_, name=name: passes.update([name]))
        for name, encoder in network.encoders.items()
    ]
    sums, observed = network.validated(batch)
    for hook in hooks:
        hook.remove()
    assert passes == dict.fromkeys(network.encoders, 1)
    expected = network.loss(batch, network.turns[0].name)[1], network.observed(batch)
    for ours, theirs in zip((sums, observed), expected, strict=True):
        assert ours.keys() == theirs.keys()
        for name, values in ours.items():
            torch.testing.assert_close(values, theirs[name], rtol=1e-4, atol=1e-5)


def test_predictions_need_no_targets_and_are_the_schemas_columns(
    objective: ObjectiveSection, learned: Learned, arrays: dict[str, np.ndarray]
) -> None:
    for name, values in arrays.items():
        assert (values.dtype, len(values)) == (np.float32, B), name
        assert np.isfinite(values).all(), name
    rows = objective.rows(arrays, learned)
    assert rows.schema == pa.schema(objective.schema(learned))
    assert EMBEDDING in rows.column_names
    assert all(isinstance(value, str) for value in objective.footer(learned).values())


def tables(objective: ObjectiveSection, learned: Learned, network: Any) -> dict[str, pa.Table]:
    found = {}
    for subset in subsets_of(objective):
        batch = make_batch(objective)
        for name in names_of(objective):
            batch[f"{name}_present"] &= name in subset.split("+")
        predicted = network.eval().predict(batch)
        found[subset] = objective.rows({k: v.numpy() for k, v in predicted.items()}, learned)
    return found


def evaluated(
    objective: ObjectiveSection,
    learned: Learned,
    network: Any,
    texts: list[str | None],
    cuts: list[slice],
    judging: Judging = JUDGING,
) -> EvaluationRecord:
    evaluations = []
    for cut in cuts:
        evaluation = objective.evaluation(learned, judging)
        rows = tables(objective, learned, network)
        present = {
            name: make_batch(objective)[f"{name}_present"].numpy()[cut]
            for name in names_of(objective)
        }
        cut_rows = {
            name: table.select(list(evaluation.columns)).slice(cut.start, cut.stop - cut.start)
            for name, table in rows.items()
        }
        evaluation.update(texts[cut], cut_rows, present)
        evaluations.append(evaluation)
    first, *others = evaluations
    for other in others:
        first.merge(other)
    return first.compute()


def test_an_evaluation_may_be_shared_is_json_and_judges_every_subset(
    objective: ObjectiveSection, learned: Learned, network: Any, texts: list[str | None]
) -> None:
    whole = evaluated(objective, learned, network, texts, [slice(0, B)])
    shared = evaluated(objective, learned, network, texts, [slice(0, 2), slice(2, B)])
    text = json.dumps(whole.to_json(), allow_nan=False)
    assert text == json.dumps(shared.to_json())
    assert EvaluationRecord.from_json(json.loads(text)) == whole, "read as it was written"
    assert set(whole.subsets) == set(subsets_of(objective))
    assert whole.overall.num_samples == B
    *_, last = names_of(objective)
    having = int(make_batch(objective)[f"{last}_present"].sum())
    assert whole.subsets[last].num_samples == having, "those that have it"
    numbers = objective.flat(whole)
    by_subset = {f"{objective.metric}_{name}" for name in subsets_of(objective)}
    assert {objective.metric, *by_subset} <= set(numbers)
    json.dumps(numbers, allow_nan=False)


def test_a_model_does_not_differ_from_itself(
    objective: ObjectiveSection, learned: Learned, network: Any, texts: list[str | None]
) -> None:
    whole = evaluated(objective, learned, network, texts, [slice(0, B)])
    rows = tables(objective, learned, network)[whole_of(objective)].drop_columns([EMBEDDING])
    rows = rows.append_column(LABEL, objective.truth(pa.array(texts, pa.string())))
    difference = objective.difference(rows, rows, whole.to_json(), JUDGING)
    assert difference == {"difference": 0.0, "difference_interval": [0.0, 0.0]}


def test_nights_are_compared_by_sums(
    objective: ObjectiveSection, learned: Learned, arrays: dict[str, np.ndarray]
) -> None:
    rows = objective.rows(arrays, learned)
    profile = Profile(rows.column_names, partial(objective.summary, learned=learned))
    rows = rows.append_column(MODALITIES, pa.array([["image"]] * B, pa.list_(pa.string())))
    rows = rows.append_column(ERROR, pa.nulls(B, ERROR_TYPE))
    whole = pickle.loads(pickle.dumps(profile))(rows)
    halves = add_sums(profile(rows.slice(0, 2)), profile(rows.slice(2)))
    json.dumps(whole, allow_nan=False)
    distances = drift(whole, halves)
    assert max(distances.values()) < 1e-4
    assert len(distances) > 2, "what it predicts is compared too"


def judged(
    objective: ObjectiveSection, learned: Learned, network: Any, texts: list[str | None]
) -> pa.Table:
    """What evaluate writes of each sample."""
    predicted = tables(objective, learned, network)[whole_of(objective)].drop_columns([EMBEDDING])
    predicted = predicted.append_column(LABEL, objective.truth(pa.array(texts, pa.string())))
    for name in ("key", "shard"):
        predicted = predicted.append_column(name, pa.array([f"{name}{row}" for row in range(B)]))
    return predicted


def page_of(
    objective: ObjectiveSection,
    evaluation: EvaluationRecord,
    predicted: pa.Table,
    texts: list[str | None],
) -> str:
    splits = {"test": SplitCounts(B, {text: 2 for text in texts if text is not None})}
    section = objective.section()
    return render(
        ReportData(
            "run", "now", splits=splits, section=section, evaluation=evaluation, predicted=predicted
        )
    )


def intervals_in(tree: Any) -> Iterator[Any]:
    """All that is said of intervals in an evaluation."""
    if isinstance(tree, dict):
        for name, value in tree.items():
            if "interval" in name and value:
                yield value
            yield from intervals_in(value)


def test_without_resamples_there_are_numbers_and_no_intervals(
    objective: ObjectiveSection, learned: Learned, network: Any, texts: list[str | None]
) -> None:
    resampled = evaluated(objective, learned, network, texts, [slice(0, B)])
    judging = replace(JUDGING, num_bootstrap=0)
    evaluation = evaluated(objective, learned, network, texts, [slice(0, B)], judging)
    assert list(intervals_in(resampled.to_json()))
    assert not list(intervals_in(evaluation.to_json()))
    assert objective.flat(evaluation) == objective.flat(resampled)
    predicted = judged(objective, learned, network, texts)
    difference = objective.difference(predicted, predicted, evaluation.to_json(), judging)
    assert difference == {"difference": 0.0, "difference_interval": None}
    for name in subsets_of(objective):
        assert evaluation.subsets[name].difference == resampled.subsets[name].difference
    page = page_of(objective, evaluation, predicted, texts)
    assert f"{objective.section().measure.title} by modality" in page
    assert INTERVALS not in page
    assert "95 %:" not in page
    assert "not clear" not in page


def test_it_has_its_part_of_the_page(
    objective: ObjectiveSection, learned: Learned, network: Any, texts: list[str | None]
) -> None:
    section = objective.section()
    evaluation = evaluated(objective, learned, network, texts, [slice(0, B)])
    predicted = judged(objective, learned, network, texts)
    shown = section.choose(predicted, evaluation, 3)
    assert shown
    named = objective.targets() is None or all(judgement.label for judgement in shown)
    assert named
    assert all(judgement.key for judgement in shown)
    page = page_of(objective, evaluation, predicted, texts)
    assert INTERVALS in page
    assert f"{section.measure.title} by modality" in page
    assert "Not evaluated yet" not in page
    assert section.measure.name == objective.metric
    assert section.score == objective.score


def test_a_bundle_gives_back_the_network(
    objective: ObjectiveSection, learned: Learned, network: Any, tmp_path: Path
) -> None:
    weights = {name: value.contiguous() for name, value in network.state_dict().items()}
    Bundle.of(
        objective=objective.model_dump(mode="json"),
        modalities=modalities_of(objective),
        learned=learned,
        tokenizer="{}" if modalities_of(objective).tokenized() else None,
        weights=save(weights),
    ).save(str(tmp_path))
    bundle = Bundle.load(str(tmp_path))
    assert objective_of(bundle) == objective
    assert prediction_fields(bundle, float16=True)[0].type == pa.list_(pa.float16(), 32)
    check_objective(bundle, objective.model_dump(mode="json"), "here")
    check_objective(bundle, objective.resolved(learned), "here")
    again, batch = restore(bundle), make_batch(objective)
    for name, values in network.eval().predict(batch).items():
        assert torch.equal(values, again.predict(batch)[name]), name


def test_cheap_models_answer_as_networks_do(
    objective: ObjectiveSection, learned: Learned, texts: list[str]
) -> None:
    """Their columns are those of a network, and the objective's evaluation judges them."""
    baselines = objective.baselines(learned, 0)
    if baselines is None:
        pytest.skip("has none")
    features = np.random.default_rng(0).normal(size=(B, 3)).astype(np.float32)
    models = [baselines.guess(texts)]
    models += [baselines.fit(family, features, texts, 1.0) for family in ("linear", "forest")]
    assert len({baselines.guess_name, *map(baselines.family_name, ("linear", "forest"))}) == 3
    for model in models:
        rows = objective.rows(model(features[:4]), learned)
        assert rows.num_rows == 4
        evaluation = objective.evaluation(learned, JUDGING)
        evaluation.update(texts[:4], {"text": rows}, {"text": np.ones(4, bool)})
        assert evaluation.compute().overall.metrics[objective.metric] is not None
        columns = {name: rows[name] for name in rows.column_names}
        judged = pa.table({LABEL: objective.truth(pa.array(texts[:4])), **columns})
        scores = objective.sample_scores(judged, evaluation.compute().to_json())
        assert scores is not None
        assert scores.values.shape == (4,)


def test_targets_beside_predictions_say_their_texts_again_or_that_they_cannot(
    objective: ObjectiveSection, texts: list[str | None]
) -> None:
    again = objective.texts(objective.truth(pa.array(texts, pa.string())))
    assert again is None or again == texts
