"""A few training samples as the configured augmentation makes them, for the report."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
from torch import Tensor

from pipeline.config import Config
from pipeline.engine.decoding.decoded_folder import is_decoded
from pipeline.engine.decoding.part import decode_part
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.models.batch import to_tensors
from pipeline.reports.content import AugmentedSample, AugmentedView
from pipeline.reports.pictures import image_png, spectrogram_png
from pipeline.sample import ERROR, KEY, MODALITIES, SHARD
from pipeline.shards.planning.plan import Part
from pipeline.training.seeds import augmentation_chance

SAMPLES = 3
EPOCHS = 3
LOOKED_AT = 48  # first samples of the split, of which those with most modalities are shown


def augmented_samples(
    config: Config, decoder: Decoder, parts: Sequence[Part]
) -> list[AugmentedSample]:
    """The first training samples as they are, and as the first epochs of worker 0 would change them in one batch.

    Args:
        config: The whole configuration.
        decoder: Its codecs.
        parts: Of the training split.

    Returns:
        At most ``SAMPLES``; none where augmentation is switched off or no sample is good.
    """
    table = _first_rows(parts[0], decoder) if parts and config.train.augment else None
    if table is None or not table.num_rows:
        return []
    batch = to_tensors(table, decoder.codecs)
    views = {"as it is": batch}
    changes = {name: each.augmentation() for name, each in config.modalities.by_name().items()}
    for epoch in range(EPOCHS):
        chance = augmentation_chance(config.train.seed, epoch, rank=0)
        changed = {name: change(batch[name].clone(), chance) for name, change in changes.items()}
        views[f"epoch {epoch + 1}"] = {**batch, **changed}
    return [
        AugmentedSample(
            key=table[KEY][row].as_py(),
            shard=table[SHARD][row].as_py(),
            views=[_view(title, row, view, batch, decoder) for title, view in views.items()],
        )
        for row in range(table.num_rows)
    ]


def _first_rows(part: Part, decoder: Decoder) -> pa.Table:
    """The good ones of a part's first rows, those with most modalities, in their order."""
    if is_decoded(part):
        part = replace(part, end=min(part.end or 0, part.start + LOOKED_AT))
    else:
        first = range(part.first_ordinal, part.first_ordinal + LOOKED_AT)
        part = replace(part, only=tuple(first))
    table = decode_part(part, decoder)
    table = table.filter(table[ERROR].is_null())
    counts = np.array([len(names) for names in table[MODALITIES].to_pylist()], dtype=np.int64)
    chosen = np.sort(np.argsort(-counts, kind="stable")[:SAMPLES])
    return table.take(pa.array(chosen))


def _view(
    title: str, row: int, view: Mapping[str, Tensor], batch: Mapping[str, Tensor], decoder: Decoder
) -> AugmentedView:
    """One sample as one epoch sees it."""
    image = spectrogram = None
    text: list[tuple[str, bool]] = []
    if _has("image", row, batch):
        image = image_png(view["image"][row].numpy())
    if _has("audio", row, batch):
        original = batch["audio"][row]
        low, high = float(original.min()), float(original.max())  # the same colours in all views
        spectrogram = spectrogram_png(view["audio"][row].numpy(), low, high)
    if _has("text", row, batch):
        tokens, kept = batch["text"][row].tolist(), view["text"][row].tolist()
        text = marked_text(tokens, kept, _tokenizer(decoder))
    return AugmentedView(title, image, spectrogram, text)


def _has(name: str, row: int, batch: Mapping[str, Tensor]) -> bool:
    return name in batch and bool(batch[f"{name}_present"][row])


def marked_text(ids: Sequence[int], kept: Sequence[int], tokenizer: str) -> list[tuple[str, bool]]:
    """A text in pieces, each with whether its tokens are still there.

    Args:
        ids: Token ids of the whole text, 0 where there is none.
        kept: The same, 0 where a token was dropped.
        tokenizer: The tokenizer's JSON.

    Returns:
        (piece, still there); a letter of several tokens is there only if all of them are.
    """
    from tokenizers import Tokenizer

    engine = Tokenizer.from_str(tokenizer)
    there = [new == old for old, new in zip(ids, kept, strict=True) if old]
    whole = [old for old in ids if old]
    text = engine.decode(whole)
    again = engine.encode(text, add_special_tokens=False)
    if again.ids != whole:  # cut inside a letter; then each token is a piece
        return _joined(zip(map(engine.decode, ([each] for each in whole)), there, strict=True))
    letters = [True] * len(text)
    for (start, end), one in zip(again.offsets, there, strict=True):
        for place in range(start, end):
            letters[place] = letters[place] and one
    return _joined(zip(text, letters, strict=True))


def _joined(pieces: Iterator[tuple[str, bool]]) -> list[tuple[str, bool]]:
    groups = itertools.groupby(pieces, key=lambda piece: piece[1])
    return [("".join(text for text, _ in group), there) for there, group in groups]


def _tokenizer(decoder: Decoder) -> str:
    tokenizer: str = decoder.codecs["text"].tokenizer  # type: ignore[attr-defined]
    return tokenizer
