"""Variational autoencoders: every modality from any others, or from nothing. Their configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Literal, Self

import pyarrow as pa
from pydantic import Field, JsonValue, model_validator

from pipeline.metrics.columns import Sums
from pipeline.modalities.decoding.targets import Target
from pipeline.modalities.rendering.base import LikelihoodName, Rendering
from pipeline.models.record import Score
from pipeline.objectives.base import Arrays, Judging, Learned
from pipeline.objectives.generated import GeneratingSection
from pipeline.objectives.vae import rows
from pipeline.objectives.vae.settings import (
    BOUNDED_SCALE,
    UNBOUNDED_SCALE,
    PosteriorConfig,
    ProductConfig,
    build_likelihood,
    check_likelihood,
)
from pipeline.objectives.vae.summary import summary
from pipeline.objectives.vae.targets import LabelSurvey, LabelTarget, classes_of

if TYPE_CHECKING:
    from torch import nn

    from pipeline.metrics.record import EvaluationRecord, SampleScores
    from pipeline.modalities.base import ModalityConfig
    from pipeline.objectives.vae.evaluation import VaeEvaluation
    from pipeline.objectives.vae.likelihoods import Likelihood
    from pipeline.objectives.vae.model import VariationalAutoencoder
    from pipeline.objectives.vae.section import VaeSection

CLASSES = "classes"
MOST_CLASSES = 1000
# The metric of an evaluation: of the labels that are made, or of all there is.
LABEL_ACCURACY = "label_accuracy"


class VaeConfig(GeneratingSection):
    """One latent that every modality of a sample is made of, learned by raising a bound of their likelihood.

    What it learns before training is ``classes``, the labels, where there is one; and ``generates``.
    """

    kind: Literal["vae"] = "vae"
    label: Annotated[
        str | None,
        Field(
            description="field with a label, or json.path in a JSON field, as one modality more; samples may lack it"
        ),
    ] = None
    latent: Annotated[int, Field(ge=2, le=4096, description="numbers of the latent")] = 32
    posterior: PosteriorConfig = Field(
        default=ProductConfig(), description="joins what the modalities say of the latent"
    )
    prior: Annotated[
        Literal["normal", "laplace"],
        Field(
            description="of the latent, and what modalities say of it; laplace for mixtures alone"
        ),
    ] = "normal"
    beta: Annotated[
        float,
        Field(ge=0, description="weight of the divergence from the prior; 1 is the bound itself"),
    ] = 1.0
    warmup_epochs: Annotated[
        int, Field(ge=0, description="in which that weight rises to beta; 0 begins with it")
    ] = 0
    free_bits: Annotated[
        float,
        Field(
            ge=0, description="nats of each number of the latent that cost nothing; not of mixture"
        ),
    ] = 0.0
    likelihoods: Annotated[
        Mapping[str, LikelihoodName],
        Field(
            description="modality: gaussian, laplace, bernoulli (values in 0..1) or categorical (tokens); else the one "
            "that suits it"
        ),
    ] = {}
    scales: Annotated[
        Mapping[str, Annotated[float, Field(gt=0)]],
        Field(
            description=f"modality: of its gaussian or laplace noise; {BOUNDED_SCALE} where values lie in 0..1, else "
            f"{UNBOUNDED_SCALE:g}"
        ),
    ] = {}
    rescale: Annotated[
        Literal["dimensions", "none"],
        Field(
            description="dimensions weighs each modality's likelihood by how many fewer values it has than the largest"
        ),
    ] = "dimensions"
    weights: Annotated[
        Mapping[str, Annotated[float, Field(ge=0)]],
        Field(description="modality, or label: what its likelihood is weighed by beside that"),
    ] = {}
    draw: Annotated[
        bool,
        Field(
            description="predictions draw the latent and tokens, by infer.seed; else they take the likeliest"
        ),
    ] = False
    nothing: Annotated[
        Literal["prior", "label"],
        Field(
            description="what the latent of a sample without a modality is drawn from: the prior, or what a label says "
            "that is drawn, each as often"
        ),
    ] = "prior"
    importance_samples: Annotated[
        int,
        Field(
            ge=0, le=10_000, description="latents of the importance-weighted bound; 0 leaves it out"
        ),
    ] = 8

    @property
    def score(self) -> Score:
        return Score(rows.ELBO, "max")

    @property
    def metric(self) -> str:
        return rows.ELBO if self.label is None else LABEL_ACCURACY

    @property
    def draws(self) -> bool:
        """True: latents of samples without a modality, and of the bounds, are drawn."""
        return True

    def check_inputs(self, modalities: Mapping[str, ModalityConfig]) -> None:
        super().check_inputs(modalities)
        if len(modalities) < 2 and self.label is None:
            raise ValueError(
                f"objective.kind: vae makes modalities of each other, and modalities has only {', '.join(modalities)}; "
                "name a second one in modalities, or set objective.label"
            )
        if self.nothing == "label" and self.label is None:
            raise ValueError(
                "objective.nothing=label: no label is learned; set objective.label, or nothing to prior"
            )
        for setting in ("likelihoods", "scales", "weights"):
            known = [*modalities, *(["label"] if setting == "weights" and self.label else [])]
            for name in getattr(self, setting):
                if name not in known:
                    raise ValueError(
                        f"objective.{setting}: there is no {name}; choose of {', '.join(known)}"
                    )
        for name, kind in self.likelihoods.items():
            rendering = modalities[name].rendering(None)
            if rendering is not None:
                check_likelihood(kind, rendering, name)

    def targets(self, learned: Learned | None = None) -> Target | None:
        return None if self.label is None else LabelTarget(self.label)

    def survey(self) -> LabelSurvey:
        return LabelSurvey(None if self.label is None else LabelTarget(self.label))

    def learn(self, survey: LabelSurvey) -> Learned:
        if self.label is None:
            return {}
        return {CLASSES: [*classes_of(survey, self.label, MOST_CLASSES)]}

    def remarks(self, survey: LabelSurvey, learned: Learned) -> Mapping[str, int]:
        without = survey.count - survey.labels.total() if self.label is not None else 0
        others = sum(
            count for label, count in survey.labels.items() if label not in self.classes(learned)
        )
        counts = {"samples_without_label": without, "labels_unknown": others}
        return {name: count for name, count in counts.items() if count}

    def classes(self, learned: Learned) -> list[str]:
        """The labels; empty where none is learned."""
        names = learned.get(CLASSES, []) if self.label is not None else []
        assert isinstance(names, list | tuple)
        return [str(name) for name in names]

    def build(self, encoders: Mapping[str, nn.Module], learned: Learned) -> VariationalAutoencoder:
        from pipeline.objectives.vae.model import VariationalAutoencoder

        return VariationalAutoencoder(
            self, encoders, self.renderings(learned), self.classes(learned)
        )

    def likelihoods_of(
        self, renderings: Mapping[str, Rendering], labels: Sequence[str]
    ) -> dict[str, Likelihood]:
        """Modality -> how its values scatter, and of the label.

        Args:
            renderings: Modality -> how its values are made.
            labels: The name of the label among the modalities, where it is one.
        """
        from pipeline.objectives.vae.likelihoods import Categorical

        built = {
            name: build_likelihood(
                self.likelihoods.get(name, rendering.likelihood), self.scales.get(name), rendering
            )
            for name, rendering in renderings.items()
        }
        return built | {name: Categorical() for name in labels}

    def factors(self, sizes: Mapping[str, int]) -> dict[str, float]:
        """What each modality's likelihood is weighed by.

        Args:
            sizes: Modality -> values that it has.

        Source:
            Javaloy, Meghdadi & Valera 2022, "Mitigating modality collapse in multimodal VAEs via impartial
            optimization", section 5, of the ratio of dimensions.
        """
        largest = max(sizes.values())
        return {
            name: (largest / size if self.rescale == "dimensions" else 1.0)
            * self.weights.get(name, 1.0)
            for name, size in sizes.items()
        }

    def schema(self, learned: Learned) -> list[pa.Field]:  # type: ignore[override]
        return rows.schema(
            self.renderings(learned),
            self.latent,
            bound=self.importance_samples > 0,
            labelled=self.label is not None,
        )

    def rows(self, arrays: Arrays, learned: Learned) -> pa.Table:
        return rows.table(arrays, self.renderings(learned), self.classes(learned))

    def truth(self, texts: pa.Array) -> pa.Array:
        return pa.array([text or None for text in texts.to_pylist()], pa.string())

    def evaluation(self, learned: Learned, judging: Judging) -> VaeEvaluation:
        from pipeline.objectives.vae.evaluation import VaeEvaluation

        return VaeEvaluation(self, list(self.renderings(learned)), judging)

    def difference(
        self,
        first: pa.Table,
        second: pa.Table,
        evaluation: Mapping[str, JsonValue],
        judging: Judging,
    ) -> dict[str, JsonValue]:
        from pipeline.objectives.vae.evaluation import difference

        return difference(first, second, self.metric, judging)

    def sample_scores(self, rows: pa.Table, evaluation: Mapping[str, JsonValue]) -> SampleScores:
        from pipeline.objectives.vae.evaluation import sample_scores

        return sample_scores(rows, self.metric)

    def summary(self, rows: pa.Table, learned: Learned) -> Sums:
        return summary(rows)

    def section(self) -> VaeSection:
        from pipeline.objectives.vae.section import VaeSection

        return VaeSection(self.score, self.metric)

    def flat(self, evaluation: EvaluationRecord) -> dict[str, float]:
        from pipeline.objectives.vae.evaluation import summary_metrics

        return summary_metrics(evaluation)

    @model_validator(mode="after")
    def _parts_go_together(self) -> Self:
        if self.prior == "laplace" and self.posterior.kind != "mixture":
            raise ValueError(
                f"objective.prior=laplace: no product of Laplace distributions is one, and objective.posterior.kind="
                f"{self.posterior.kind} takes products; choose mixture, or the prior normal"
            )
        if self.free_bits and self.posterior.kind == "mixture":
            raise ValueError(
                "objective.free_bits: the divergence of a mixture is known of the whole latent alone; set it to 0, or "
                "choose another objective.posterior.kind"
            )
        return self
