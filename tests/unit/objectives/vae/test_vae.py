"""Variational autoencoders: what is raised, what is masked, what is made, and what is refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from pydantic import ValidationError
from support.autoencoders import (
    LABELS,
    MODALITIES,
    NAMES,
    POSTERIORS,
    batch,
    config,
    network_of,
)

from pipeline.errors import ConfigError, SampleError
from pipeline.modalities import ModalitiesConfig
from pipeline.modalities.chance import CHANCE, Chance
from pipeline.objectives.base import EMBEDDING, Judging
from pipeline.objectives.vae.posteriors import Experts
from pipeline.objectives.vae.targets import LabelSurvey, LabelTarget
from pipeline.sample import Field, Sample

each_posterior = pytest.mark.parametrize("posterior", POSTERIORS.values(), ids=list(POSTERIORS))


def arrays_of(network: Any, samples: dict[str, torch.Tensor], seed: int = 0) -> dict[str, Any]:
    return {name: values.numpy() for name, values in network.eval().predict(samples, seed).items()}


@each_posterior
def test_it_overfits_a_batch_and_makes_each_modality_of_each(posterior: dict[str, Any]) -> None:
    network = network_of(
        posterior=posterior,
        beta=0.01,
        likelihoods={"image": "gaussian"},
        scales={"vector": 0.1, "other": 0.1},
    )
    samples = batch(4)
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)
    losses = []
    for step in range(150):
        samples[CHANCE] = torch.arange(4) + 4 * step
        loss, _ = network.loss(samples)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] / 2
    made = arrays_of(network, samples)
    assert made["generated_label"].argmax(axis=1).tolist() == samples["label"].tolist()
    distance = np.abs(made["generated_vector"] - samples["vector"][:, 0].numpy()).mean()
    assert distance < 0.4


@pytest.mark.parametrize("kind", POSTERIORS)
def test_the_bound_is_its_integral(kind: str) -> None:
    """Of a latent of one number: the mean of the bound over its noise is the sum over a grid."""
    network = network_of(
        latent=2, posterior={"kind": kind, **({"subsampled": False} if kind == "product" else {})}
    )
    network.eval()
    samples = {
        name: values[:1].expand(4000, *values.shape[1:]) for name, values in batch(1).items()
    }
    samples[CHANCE] = torch.arange(4000)
    with torch.no_grad():
        _, sums = network.loss(samples)
        experts = network._experts({name: values[:1] for name, values in samples.items()})
        prepared = network._prepared({name: values[:1] for name, values in samples.items()})
        mixture = network.posterior.components(experts)
        axis = torch.linspace(-6, 6, 121)
        grid = torch.cartesian_prod(axis, axis)
        likelihood = torch.zeros(len(grid))
        for name, values in prepared.items():
            parameters = network.decoded(grid, name)
            spread = values.values.expand(len(grid), *values.values.shape[1:])
            each = network.likelihoods[name].log_probability(parameters, spread)
            likelihood += each.flatten(1).sum(dim=1)
        zeros = torch.zeros_like(grid)
        prior = network.posterior.family.log_density(grid, zeros, zeros).sum(dim=1)
        rows = mixture._replace(
            location=mixture.location.expand(-1, len(grid), -1),
            log_scale=mixture.log_scale.expand(-1, len(grid), -1),
            weights=mixture.weights.expand(-1, len(grid)),
        )
        log_q = rows.log_density(grid, network.posterior.family)
        cell = float(axis[1] - axis[0]) ** 2
        weight = log_q.exp() * cell
        assert float(weight.sum()) == pytest.approx(1, abs=0.01)
        expected = float((weight * likelihood).sum())
        if kind == "mixture_of_products":  # the mean of the divergences bounds that of the mixture
            divergence = network.posterior.family.divergence(mixture.location, mixture.log_scale)
            expected -= float((mixture.weights * divergence.sum(dim=-1)).sum())
        else:
            expected -= float((weight * (log_q - prior)).sum())
    assert float(sums["elbo"]) / 4000 == pytest.approx(expected, rel=2e-3)


@each_posterior
def test_what_a_sample_lacks_changes_nothing(posterior: dict[str, Any]) -> None:
    network = network_of(posterior=posterior)
    samples = batch(6)
    samples["vector_present"][:3] = False
    samples["label"][2:4] = -1
    other = {name: values.clone() for name, values in samples.items()}
    other["vector"][:3, 0] = 1e4
    network.eval()
    ours, theirs = network.loss(samples), network.loss(other)
    torch.testing.assert_close(ours[0], theirs[0])
    for name, value in arrays_of(network, samples).items():
        np.testing.assert_allclose(value, arrays_of(network, other)[name], rtol=1e-5, atol=1e-5)


@each_posterior
def test_a_modality_that_no_sample_has_leaves_all_numbers_finite(posterior: dict[str, Any]) -> None:
    network = network_of(posterior=posterior)
    samples = batch(4)
    samples["image_present"][:] = False
    samples["other_present"][1:] = False
    samples["vector_present"][1] = False  # a sample of nothing but its label
    samples["label"][2:] = -1
    loss, sums = network.loss(samples)
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(value) for value in sums.values())
    gradients = [weight.grad for weight in network.parameters() if weight.grad is not None]
    assert gradients
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    metrics = network.metrics({name: float(value) for name, value in sums.items()})
    assert metrics["nll_image"] == 0.0
    for values in arrays_of(network, samples).values():
        assert np.isfinite(values).all()


def test_more_divergence_is_worse_and_better_likelihoods_are_better() -> None:
    network = network_of(posterior={"kind": "mixture_of_products"}).eval()
    samples = batch(4)
    loss = {}
    for beta in (0.0, 1.0, 3.0):
        network.weigh({"beta": beta})
        loss[beta] = float(network.loss(samples)[0])
    _, sums = network.loss(samples)
    kl = float(sums["kl"]) / 4
    assert kl > 0
    assert loss[1.0] - loss[0.0] == pytest.approx(kl, rel=1e-3)
    assert loss[3.0] - loss[0.0] == pytest.approx(3 * kl, rel=1e-3)
    means = {name: float(value) / 4 for name, value in sums.items()}
    nats = sum(means[f"nll_{name}"] for name in (*NAMES, "label"))
    assert means["elbo"] == pytest.approx(-nats - kl, rel=1e-4)
    factors = network.factors
    weighed = sum(factors[name] * means[f"nll_{name}"] for name in (*NAMES, "label"))
    assert loss[0.0] == pytest.approx(weighed, rel=1e-4)
    assert factors == {"image": 1.0, "vector": 32.0, "other": 64.0, "label": 192.0}


def test_free_bits_cost_nothing_up_to_them() -> None:
    samples = batch(4)
    plain, free = network_of().eval(), network_of(free_bits=2.0).eval()
    experts = plain._experts(samples)
    [first, *_] = plain.posterior.terms(experts, plain_chance(samples))
    _, sums = free.loss(samples)
    assert float(sums["kl"]) / 4 == pytest.approx(
        float(first.divergence.sum(dim=1).mean()), rel=1e-4
    ), "what is told is the divergence itself"
    extra = sum(
        float((term.weight * (term.divergence.clamp(min=2.0) - term.divergence).sum(dim=1)).mean())
        for term in plain.posterior.terms(experts, plain_chance(samples))
    )
    difference = float(free.loss(samples)[0]) - float(plain.loss(samples)[0])
    assert difference == pytest.approx(extra, rel=1e-3)


def plain_chance(samples: dict[str, torch.Tensor]) -> Any:
    from pipeline.modalities.chance import Chance

    return Chance(samples[CHANCE]).stream("vae")


def test_the_weight_of_the_divergence_rises_over_epochs() -> None:
    network = network_of(beta=4.0, warmup_epochs=4)
    course = [network.loss_weights([{}] * done)["beta"] for done in range(6)]
    assert course == [1.0, 2.0, 3.0, 4.0, 4.0, 4.0]
    network.weigh({})
    assert network.beta == 4.0
    network.weigh({"beta": 0.5})
    assert network.beta == 0.5
    assert network_of(beta=4.0).loss_weights([]) == {"beta": 4.0}


@each_posterior
def test_predictions_are_a_samples_own(posterior: dict[str, Any]) -> None:
    """Whatever its batch; and what is drawn, of nothing or because it was asked for, by chance and seed alone."""
    for settings in ({}, {"draw": True}):
        network = network_of(posterior=posterior, **settings)
        samples = batch(6, labelled=False)
        samples |= {f"{name}_present": torch.arange(6) > 1 for name in NAMES}
        together = arrays_of(network, samples)
        alone = arrays_of(network, {name: values[1:2] for name, values in samples.items()})
        for name, values in alone.items():
            np.testing.assert_allclose(values, together[name][1:2], rtol=1e-4, atol=1e-4)
        other = arrays_of(network, samples, seed=5)
        pictures = (together["generated_vector"] != other["generated_vector"]).any(axis=1)
        assert pictures[:2].all(), "of nothing, the latent is drawn"
        is_drawn = bool(settings) or posterior["kind"] == "mixture"
        assert pictures[2:].any() == is_drawn
        assert not np.allclose(together["generated_vector"][0], together["generated_vector"][1])


@each_posterior
def test_of_nothing_samples_are_made_as_of_a_label_that_is_drawn(posterior: dict[str, Any]) -> None:
    """Each label as often as the others, with the latent that it says; where something is given, none is drawn."""
    network, count = network_of(posterior=posterior, nothing="label", latent=2), 3000
    network.heads["label"] = Sure()
    zeros = torch.zeros(len(network.names), count, 2)
    present = torch.zeros(len(network.names), count, dtype=torch.bool)
    present[0, :100] = True
    experts = Experts(zeros, zeros - 4.0, present)
    with torch.no_grad():
        latents = network._latent(experts, Chance(torch.arange(count)).stream("latent"))
    assert latents[:100].abs().max() < 0.2
    labels = (latents[100:].mean(dim=1) / 10).round()
    assert (latents[100:] - 10 * labels[:, None]).abs().max() < 1.0
    for label in range(1, len(LABELS) + 1):
        share = float((labels == label).float().mean())
        assert share == pytest.approx(1 / len(LABELS), abs=0.05)


class Sure(torch.nn.Module):
    """Says 10 times the label's number, counted from 1, and is nearly certain."""

    def forward(self, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        location = 10.0 * (1.0 + labels.float())[:, None].expand(-1, 2)
        return location, torch.full_like(location, -4.0)


def test_a_label_that_is_not_learned_is_not_drawn() -> None:
    with pytest.raises(ValueError, match="nothing=label: no label is learned"):
        config(nothing="label", label=None).check_inputs(MODALITIES.by_name())


def test_the_bound_of_many_latents_is_tighter() -> None:
    means = []
    for count in (1, 64):
        network = network_of(importance_samples=count, posterior={"kind": "mixture"})
        made = arrays_of(network, batch(16))
        means.append(made["importance_bound"].mean())
        assert (made["importance_bound"] >= made["elbo"] - 1e-3).all()
    assert means[1] > means[0]
    assert "importance_bound" not in arrays_of(network_of(importance_samples=0), batch(2))


def test_rows_are_the_schemas_columns_and_null_where_there_is_nothing() -> None:
    objective = config()
    learned = {"classes": LABELS, **objective.about_inputs(MODALITIES.by_name())}
    network, samples = network_of(), batch(3)
    samples["vector_present"][0] = False
    rows = objective.rows(arrays_of(network, samples), learned)
    assert rows.schema == pa.schema(objective.schema(learned))
    assert rows["nll_vector"].is_null().to_pylist() == [True, False, False]
    assert set(rows["generated_label"].to_pylist()) <= set(LABELS)
    assert all(0 < score <= 1 for score in rows["label_score"].to_pylist())
    assert rows["generated_image"][0].as_py().startswith(b"\x89PNG")
    assert rows[EMBEDDING].type.list_size == 4
    unlabelled = config(label=None)
    names = [
        field.name for field in unlabelled.schema(unlabelled.about_inputs(MODALITIES.by_name()))
    ]
    assert "generated_label" not in names


def test_a_step_between_two_samples_begins_and_ends_with_them() -> None:
    network, samples = network_of().eval(), batch(2)
    steps = network.between(samples, 5)
    made = network.predict(samples)
    assert len(steps["generated_vector"]) == 5
    for place, row in ((0, 0), (-1, 1)):
        torch.testing.assert_close(
            steps["generated_vector"][place], made["generated_vector"][row], rtol=1e-4, atol=1e-4
        )
    middle = steps[EMBEDDING][2]
    torch.testing.assert_close(middle, (steps[EMBEDDING][0] + steps[EMBEDDING][4]) / 2)


def test_a_sample_may_lack_its_label_and_a_split_may_not() -> None:
    target = LabelTarget("cls")
    members = {"cls": Field(memoryview(b" dog\n"), 0, 5)}
    assert target.read(Sample("k", "x.tar", 0, members)) == "dog"
    assert target.read(Sample("k", "x.tar", 0, {})) == ""
    assert target.accept(None) == ""
    with pytest.raises(SampleError):
        target.read(Sample("k", "x.tar", 0, {"cls": Field(memoryview(b" "), 0, 1)}))
    survey = LabelSurvey(target)
    survey.add_text("")
    for texts, words in (
        ([], "none of 1 samples has a label"),
        (["a"] * 3, "all 3 labels are 'a'"),
        ([str(number) for number in range(1001)], "1001 different labels"),
    ):
        filled = LabelSurvey(target)
        filled.merge(survey)
        for text in texts:
            filled.add_text(text)
        with pytest.raises(ConfigError, match=words) as caught:
            config().learn(filled)
        assert "objective.label=cls" in str(caught.value)
    survey.add_text("a")
    survey.add_text("b")
    assert config().learn(survey) == {"classes": ["a", "b"]}
    assert config().remarks(survey, {"classes": ["a"]}) == {
        "samples_without_label": 1,
        "labels_unknown": 1,
    }
    network = network_of()
    assert network.targets(["dog", None, "", "yak"])["label"].tolist() == [1, -1, -1, -1]


@pytest.mark.parametrize(
    ("settings", "modalities", "words"),
    [
        ({"label": None}, {"image": {}}, "has only image; name a second one"),
        ({}, {"video": {}}, "no network here makes those of video"),
        (
            {"generates": ["sound"]},
            {"image": {}},
            "objective.generates: there is no modality sound",
        ),
        ({"scales": {"sound": 1}}, {"image": {}}, "objective.scales: there is no sound"),
        ({"weights": {"labels": 1}}, {"image": {}}, "objective.weights: there is no labels"),
        (
            {"likelihoods": {"text": "gaussian"}},
            {"text": {}},
            "cannot be gaussian; choose categorical",
        ),
        ({"likelihoods": {"image": "categorical"}}, {"image": {}}, "choose bernoulli or gaussian"),
    ],
)
def test_what_cannot_be_is_refused_by_its_setting(
    settings: dict[str, Any], modalities: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        config(**settings).check_inputs(ModalitiesConfig.model_validate(modalities).by_name())


@pytest.mark.parametrize("kind", ["product", "mixture_of_products"])
def test_products_have_a_normal_prior(kind: str) -> None:
    with pytest.raises(ValidationError, match=r"objective\.prior=laplace"):
        config(prior="laplace", posterior={"kind": kind})


def test_free_bits_need_a_divergence_of_each_number() -> None:
    with pytest.raises(ValidationError, match=r"objective\.free_bits"):
        config(free_bits=0.5, posterior={"kind": "mixture"})


def test_a_laplace_prior_learns() -> None:
    network = network_of(prior="laplace", posterior={"kind": "mixture"})
    loss, sums = network.loss(batch(4))
    loss.backward()
    assert torch.isfinite(loss)
    assert math.isfinite(float(sums["elbo"]))


def test_an_evaluation_tells_right_labels_of_every_subset() -> None:
    objective = config()
    learned = {"classes": LABELS, **objective.about_inputs(MODALITIES.by_name())}
    evaluation = objective.evaluation(learned, Judging("test", 0, 20))
    rows = objective.rows(arrays_of(network_of(), batch(4)), learned)
    made = pa.array(["cat", "cat", "dog", "dog"])
    place = rows.column_names.index("generated_label")
    rows = rows.set_column(place, "generated_label", made)
    present = {name: np.ones(4, bool) for name in NAMES}
    evaluation.update(["cat", "dog", "", "dog"], {"+".join(NAMES): rows}, present)
    record = evaluation.compute()
    assert record.overall.metrics["label_accuracy"] == pytest.approx(2 / 3)
    assert record.overall.metrics["elbo"] == pytest.approx(np.mean(rows["elbo"].to_pylist()))
    assert objective.flat(record)["label_accuracy"] == pytest.approx(2 / 3)
    with_labels = rows.append_column("label", pa.array(["cat", "dog", None, "dog"]))
    other = with_labels.set_column(place, "generated_label", pa.array(["cat"] * 4))
    judging = Judging("test", 0, 20)
    paired = objective.difference(with_labels, other, {}, judging)
    assert paired["difference"] == pytest.approx(1 / 3)


def test_what_chance_has_changed_is_made_as_it_was() -> None:
    """An augmented batch is explained by the values that it had before."""
    network, samples = network_of().eval(), batch(4)
    changed = {**samples, **network.identified(samples)}
    changed["image"] = torch.zeros_like(samples["image"])
    prepared = network._prepared(changed)
    torch.testing.assert_close(prepared["image"].values, network._prepared(samples)["image"].values)
    assert float(network.loss(changed)[0]) != float(network.loss(samples)[0])


def test_a_label_alone_may_be_what_is_given() -> None:
    network, samples = network_of(), batch(3)
    hidden = {f"{name}_present": torch.zeros(3, dtype=torch.bool) for name in NAMES}
    samples |= hidden
    first = arrays_of(network, samples)
    other = arrays_of(network, {**samples, "label": (samples["label"] + 1) % 3})
    assert not np.allclose(first["generated_vector"], other["generated_vector"])
    assert first[EMBEDDING].any(axis=1).all()


def test_experts_of_few_are_those_of_all_with_a_mask() -> None:
    network, samples = network_of().eval(), batch(3)
    hidden = {**samples, "image_present": torch.zeros(3, dtype=torch.bool)}
    place = network.names.index("image")
    whole: Experts = network._experts(samples)
    mask = torch.ones_like(whole.present)
    mask[place] = False
    ours = network.posterior.components(whole.only(mask))
    theirs = network.posterior.components(network._experts(hidden))
    torch.testing.assert_close(ours.location, theirs.location)
