"""Samples that the report of a run shows: some of the data, and those whose predictions are worth a look."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from pipeline.config import Config, Patterns
from pipeline.engine.decoding.decoded_folder import is_decoded, split_input
from pipeline.engine.decoding.isolated import show
from pipeline.errors import Absent, PipelineError, SampleError
from pipeline.inspection.survey import read_samples
from pipeline.limits import Limits
from pipeline.logs import without_library_noise
from pipeline.metrics.record import EvaluationRecord
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.modalities.decoding.targets import Target
from pipeline.modalities.facets import ShowsTime
from pipeline.modalities.shown import Shown
from pipeline.reports.content import Example
from pipeline.reports.section import Judgement
from pipeline.safe_text.redaction import redact
from pipeline.sample import Sample
from pipeline.shards.planning.plan import Part, expand, plan


@dataclass(frozen=True)
class JudgedExamples:
    """Samples of an evaluation.

    Attributes:
        examples: Those that can be shown.
        missing: Why there are none, in sentences for a person; empty where there are some.
    """

    examples: Sequence[Example] = ()
    missing: str = ""


def parts_of(patterns: Patterns, where: str) -> list[Part]:
    """The parts of shards and of folders that preprocess wrote, of those that ``where`` names.

    Raises:
        PipelineError: Nothing is there, or it cannot be reached.
    """
    folders, shards = split_input(patterns)
    parts = [part for folder in folders for part in folder.parts()]
    return parts + (plan(expand(shards, where=where)) if shards else [])


def first_examples(
    parts: Sequence[Part], split: str, config: Config, decoder: Decoder, target: Target | None
) -> list[Example]:
    """Samples of a split, the labels in turn."""
    wanted = config.report.num_examples
    by_label: dict[str | None, list[Sample]] = {}
    for sample in itertools.islice(samples_of(parts[:1], decoder.limits), 50 * max(wanted, 1)):
        by_label.setdefault(target_text(sample, target), []).append(sample)
    rounds = itertools.zip_longest(*(by_label[name] for name in sorted(by_label, key=str)))
    in_turn = (sample for each in rounds for sample in each if sample is not None)
    section = config.objective.section() if config.objective else None
    examples = (
        _example(sample, split, decoder, section.label(text) if section and text else text)
        for sample in in_turn
        for text in [target_text(sample, target)]
    )
    return list(itertools.islice((each for each in examples if each is not None), wanted))


def judged_examples(
    config: Config,
    decoder: Decoder,
    evaluation: EvaluationRecord,
    chosen: Sequence[Judgement],
) -> JudgedExamples:
    """The samples of predictions that are worth a look, in their order.

    They are looked for where the evaluation found them, whatever ``evaluate.input`` is by now: shards elsewhere may
    have the same names and keys. Only where nothing is there any more, ``evaluate.input`` is looked at.

    Args:
        config: The whole configuration.
        decoder: Shows them.
        evaluation: What was found.
        chosen: Which.
    """
    if not chosen:
        return JudgedExamples(missing="No prediction was chosen to be shown (report.num_examples).")
    shards = {judgement.shard for judgement in chosen}
    looked_at = []
    for words, place in _places(config, evaluation).items():
        try:
            patterns = config.patterns(place, "evaluate.input")
            parts = [part for part in parts_of(patterns, "evaluate.input") if part.shard in shards]
        except PipelineError as error:
            looked_at.append(f"in {words} ({error})")
            continue
        if parts:
            return _of_parts(parts, decoder, evaluation.split, chosen)
        looked_at.append(f"in {words}")
    return JudgedExamples(
        missing=f"The evaluation is of {evaluation.split}. Its predictions are of shards such as {min(shards)}, which "
        f"were looked for {' and '.join(looked_at)}, and are not there. Set evaluate.input to where they are now, and "
        "make this page again."
    )


def _places(config: Config, evaluation: EvaluationRecord) -> dict[str, Patterns]:
    """Where an evaluation's shards may be, in words; what it says itself first, which earlier versions did not."""
    configured = config.evaluate.input
    words = configured if isinstance(configured, str) else ", ".join(configured)
    recorded: dict[str, Patterns] = {}
    if evaluation.input:
        recorded[", ".join(evaluation.input)] = list(evaluation.input)
    return recorded | {redact(f"evaluate.input={words}"): configured}


def _of_parts(
    parts: Sequence[Part], decoder: Decoder, split: str, chosen: Sequence[Judgement]
) -> JudgedExamples:
    if all(map(is_decoded, parts)):
        return JudgedExamples(
            missing=f"The evaluation is of {split}, which preprocess wrote: its rows have no pictures, texts or sounds "
            "that could be shown. An evaluation of the shards has them."
        )
    wanted = {(judgement.shard, judgement.key) for judgement in chosen}
    decoded = {
        (sample.shard, sample.key): _example(sample, split, decoder, None)
        for sample in samples_of(parts, decoder.limits)
        if (sample.shard, sample.key) in wanted
    }
    examples = [
        _judged(example, judgement, decoder)
        for judgement in chosen
        if (example := decoded.get((judgement.shard, judgement.key))) is not None
    ]
    place = min(part.url for part in parts)
    missing = f"None of the {len(wanted)} samples that were chosen is in {place} any more, or none can be decoded."
    return JudgedExamples(examples, "" if examples else redact(missing))


def _judged(example: Example, judgement: Judgement, decoder: Decoder) -> Example:
    only = judgement.only
    pictures = (
        codec.in_time(shown.content)
        for name, shown in example.shown.items()
        if judgement.times and isinstance(codec := decoder.codecs[name], ShowsTime)
    )
    return replace(
        example,
        label=judgement.label,
        shown={
            name: shown for name, shown in example.shown.items() if only is None or name in only
        },
        prediction=judgement.prediction,
        right=judgement.right,
        score=judgement.score,
        probabilities=judgement.probabilities,
        heading=judgement.heading,
        in_time=next(pictures, None),
        times=judgement.times,
    )


def _example(
    sample: Sample,
    split: str,
    decoder: Decoder,
    label: str | None,
) -> Example | None:
    """One sample as it is shown; None where it cannot be decoded."""
    shown: dict[str, Shown] = {}
    try:
        with without_library_noise():
            for name in decoder.codecs:
                field = next((name for name in decoder.fields[name] if name in sample.fields), None)
                if field is not None:
                    with contextlib.suppress(Absent):  # a film without sound is shown all the same
                        shown[name] = show(decoder, name, sample.fields[field].data, field)
    except SampleError:
        return None
    return Example(key=sample.key, shard=sample.shard, split=split, shown=shown, label=label)


def samples_of(
    parts: Iterable[Part], limits: Limits, fields: Collection[str] | None = None
) -> Iterator[Sample]:
    """The samples of shards; of a preprocessed folder the files that a person could see or hear are gone."""
    return read_samples(itertools.filterfalse(is_decoded, parts), limits, fields)


def target_text(sample: Sample, target: Target | None) -> str | None:
    """The canonical text of a sample's target; None where it has none that can be used."""
    try:
        return target.read(sample) if target else None
    except SampleError:
        return None
