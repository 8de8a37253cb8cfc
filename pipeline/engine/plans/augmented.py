"""A few training samples as the configured augmentation makes them, for the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
from torch import Tensor

from pipeline.config import Config
from pipeline.engine.decoding.decoded_folder import is_decoded
from pipeline.engine.decoding.part import decode_part
from pipeline.engine.train.record import embedded_modalities
from pipeline.modalities.base import ModalityConfig
from pipeline.modalities.chance import CHANCE
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.models.batch import chance_column, to_tensors
from pipeline.reports.content import AugmentedSample, AugmentedView
from pipeline.sample import ERROR, KEY, MODALITIES, SHARD
from pipeline.shards.planning.plan import Part
from pipeline.training.augmentation import augmented

SAMPLES = 3
EPOCHS = 3
LOOKED_AT = 48  # first samples of the split, of which those with most modalities are shown


def augmented_samples(
    config: Config, decoder: Decoder, parts: Sequence[Part]
) -> list[AugmentedSample]:
    """The first training samples as they are, and as the first epochs change them.

    Args:
        config: The whole configuration.
        decoder: Its codecs.
        parts: Of the training split.

    Returns:
        At most ``SAMPLES``; none where nothing is augmented or no sample is good.
    """
    configs = config.modalities.by_name()
    embedded = embedded_modalities(config)
    changes = {
        name: modality.augmentation() for name, modality in configs.items() if name not in embedded
    }
    is_augmented = config.train.augment and bool(changes)
    table = _first_rows(parts[0], decoder) if parts and is_augmented else None
    if table is None or not table.num_rows:
        return []
    batch = to_tensors(table, decoder.codecs)
    views = {"as it is": batch}
    for epoch in range(EPOCHS):
        chance = chance_column(table, config.train.seed, epoch)
        views[f"epoch {epoch + 1}"] = augmented({**batch, CHANCE: chance}, changes)
    return [
        AugmentedSample(
            key=table[KEY][row].as_py(),
            shard=table[SHARD][row].as_py(),
            views=[
                _view(title, row, view, batch, configs, decoder) for title, view in views.items()
            ],
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
    title: str,
    row: int,
    view: Mapping[str, Tensor],
    batch: Mapping[str, Tensor],
    configs: Mapping[str, ModalityConfig],
    decoder: Decoder,
) -> AugmentedView:
    """One sample as one epoch sees it."""
    shown = {}
    for name, config in configs.items():
        if name in batch and bool(batch[f"{name}_present"][row]):
            values = batch[name][row].numpy(), view[name][row].numpy()
            modality = config.show_augmented(decoder.codecs[name], *values)
            if modality is not None:
                shown[name] = modality
    return AugmentedView(title, shown)
