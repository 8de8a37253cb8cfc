"""Gathers what the page of a search shows: the samples of the neighbours, read again from the shards of the input."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pipeline import storage
from pipeline.config import Config
from pipeline.engine.decoding.decoded_folder import split_input
from pipeline.engine.decoding.isolated import end_child, show
from pipeline.engine.search.plan import Answer
from pipeline.engine.search.query import Question
from pipeline.errors import Absent, PipelineError, SampleError
from pipeline.limits import Limits
from pipeline.logs import without_library_noise
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.modalities.shown import Shown, readable
from pipeline.reports.content import Example
from pipeline.reports.neighbours import Neighbour
from pipeline.reports.search import SearchPage, ShownNeighbour
from pipeline.sample import Sample
from pipeline.shards.packed.source import is_packed
from pipeline.shards.planning.plan import Part, Shard, expand, shard_fingerprint
from pipeline.shards.reading.reader import read_part

MAX_SAMPLES = 100  # that are read; the neighbours behind are shown as rows
MAX_READ_BYTES = (
    512 << 20
)  # of a shard that is not on this machine, or packed: all before a sample has to be read

Name = tuple[str, str]  # shard and key


@dataclass
class _Found:
    """What could be read of a sample, and why the rest could not."""

    shown: dict[str, Shown] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def gallery(config: Config, question: Question, answer: Answer) -> SearchPage:
    """What the page shows of an answer; that a sample cannot be found or read becomes a note."""
    query_row = answer.query.row
    names = [(neighbour.shard, neighbour.key) for neighbour in answer.neighbours]
    samples = ([(query_row.shard, query_row.key)] if query_row else []) + names[:MAX_SAMPLES]
    shown_by_name = _read(config, samples)
    if query_row is not None:
        query_shown = shown_by_name[query_row.shard, query_row.key]
        query = Example(query_row.key, query_row.shard, "", shown=query_shown.shown)
    else:
        query_shown = _Found(dict(answer.query.shown or {}))
        predicted = said(answer.query.prediction)
        query = Example("", "", "", shown=query_shown.shown, prediction=predicted)
    late = _Found(notes=[f"only the first {MAX_SAMPLES} are shown"])
    neighbours = [
        _neighbour(neighbour, shown_by_name.get(name, late))
        for neighbour, name in zip(answer.neighbours, names, strict=True)
    ]
    return SearchPage(
        title=query_row.key if query_row else " + ".join(_titles(config, question)),
        generated=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        query=query,
        query_notes=query_shown.notes,
        facts=[
            ("embeddings", config.folder("embeddings", config.infer.output)),
            ("column", answer.column),
            ("rows", f"{answer.compared:,}"),
            ("index", config.search.index),
        ],
        neighbours=neighbours,
    )


def neighbour_texts(config: Config, answer: Answer) -> dict[Name, str]:
    """The texts of the first neighbours, as a person reads them.

    Only of shards that can be read in part, plain tars on this machine: others would be read whole for a line of text.
    """
    names = readable(config.modalities.media())
    if not names:
        return {}
    places = [(row.shard, row.key) for row in answer.neighbours[:MAX_SAMPLES]]
    alone = config.model_copy(update={"modalities": config.modalities.only(names)})
    samples = _read(alone, places, max_far_bytes=0)
    return {
        place: "\n".join(str(shown.content) for shown in sample.shown.values())
        for place, sample in samples.items()
        if sample.shown
    }


def _titles(config: Config, question: Question) -> Iterator[str]:
    for name, value in question.told.items():
        is_text = config.modalities.is_value(name)
        yield f"“{value}”" if is_text else value.rpartition("/")[2]


def _neighbour(row: Neighbour, found: _Found) -> ShownNeighbour:
    example = Example(
        key=row.key,
        shard=row.shard,
        split="",
        prediction=said(row.predicted.prediction) if row.predicted else None,
        score=row.predicted.score if row.predicted else None,
        shown=found.shown,
    )
    return ShownNeighbour(row.rank, row.score, example, row.metadata, found.notes)


def said(prediction: object) -> str | None:
    """What a model says of a row, in words: a name, a number, or several of them; None where it says nothing."""
    if isinstance(prediction, list):
        return ", ".join(filter(None, map(said, prediction)))
    if isinstance(prediction, float):
        return f"{prediction:.4g}"
    return None if prediction is None else str(prediction)


def _read(
    config: Config, wanted: Sequence[Name], max_far_bytes: int = MAX_READ_BYTES
) -> dict[Name, _Found]:
    """Reads samples by shard and key; each of them is in the answer."""
    shown_by_name = {name: _Found() for name in wanted}
    try:
        folders, patterns = split_input(config.patterns(config.infer.input, "infer.input"))
        shards = {shard.name: shard for shard in expand(patterns)} if patterns else {}
    except PipelineError as error:
        return {name: _Found(notes=[f"the input cannot be read: {error.what}"]) for name in wanted}
    decoder = Decoder.build(config.modalities.for_showing(), "", **config.handling())
    gone = "of a preprocessed folder no picture or sound is left" if folders else "is not there"
    try:
        for name in {shard for shard, _ in wanted}:
            keys = {key for shard, key in wanted if shard == name}
            shard = shards.get(name)
            if shard is not None and _is_far(shard) and shard.size > max_far_bytes:
                notes = {key: ["not shown: its shard is too large to be read"] for key in keys}
            else:
                notes = _read_shard(shard, keys, decoder, shown_by_name, f"the shard {gone}")
            for key in keys:
                shown_by_name[name, key].notes += notes.get(key, [])
    finally:
        end_child()
    return shown_by_name


def _read_shard(
    shard: Shard | None,
    keys: set[str],
    decoder: Decoder,
    found: Mapping[Name, _Found],
    gone: str,
) -> dict[str, list[str]]:
    """Reads some samples of a shard into ``found``; returns why some are not there."""
    if shard is None:
        return {key: [gone] for key in keys}
    missing = set(keys)
    why = "the shard has no such sample any more"
    try:
        for sample in _samples(shard, decoder.limits):
            if sample.key in missing:
                missing.remove(sample.key)
                _show(sample, decoder, found[shard.name, sample.key])
            if not missing:
                break
    except PipelineError as error:
        why = f"the shard cannot be read: {error.what}"
    return {key: [why] for key in missing}


def _is_far(shard: Shard) -> bool:
    """Whether all before a sample has to be read to get at it."""
    return is_packed(shard.name) or not storage.is_local(shard.url)


def _samples(shard: Shard, limits: Limits) -> Iterator[Sample]:
    part = Part(shard.name, shard.url, shard_fingerprint(shard))
    return (item for item in read_part(part, limits) if isinstance(item, Sample))


def _show(sample: Sample, decoder: Decoder, found: _Found) -> None:
    """What a person sees, hears and reads of a sample."""
    for name in decoder.codecs:
        extension = next(
            (field_name for field_name in decoder.fields[name] if field_name in sample.fields), None
        )
        if extension is None:
            continue
        try:
            with without_library_noise():
                data = sample.fields[extension].data
                found.shown[name] = show(decoder, name, data, extension)
        except Absent:
            continue
        except SampleError as error:
            found.notes.append(f"{name}: {error.what}")
