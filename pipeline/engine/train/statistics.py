"""What encoders need to know of the training set before the first step: the mean and deviation of values, for one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from pipeline.config import Config
from pipeline.engine.decoding.part import decode_part
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.shards.planning.plan import Part

# Of each modality, at most; as many as the tokenizer is trained on.
SAMPLES = 10_000
# Places of the training set that the first parts are taken from: shards may be sorted.
PLACES = 8


def training_statistics(
    config: Config, parts: Sequence[Part], tokenizer: str | None
) -> dict[str, Mapping[str, Any]]:
    """Decodes samples from all over the training set, until each modality that asks for it has 10,000 values.

    Args:
        config: The whole configuration.
        parts: Of the training set.
        tokenizer: The run's.

    Returns:
        Modality -> what its encoder's ``fit`` takes; the same for the same parts. Modalities whose encoders ask for
        nothing are left out.
    """
    modalities = config.modalities.by_name()
    collectors = {
        name: collector
        for name, modality in modalities.items()
        if (collector := modality.training_statistics()) is not None
    }
    handling = config.handling()
    decoder = Decoder.with_codecs(
        {name: modalities[name].codec(tokenizer, verify=handling["verify"]) for name in collectors},
        config.modalities,
        on_bad_field=handling["on_bad_field"],
        limits=handling["limits"],
    ).sparing()
    lacking = dict.fromkeys(collectors, SAMPLES)
    for part in spread(parts):
        if not any(lacking.values()):
            break
        table = decode_part(part, decoder)
        for name, collector in collectors.items():
            column = pa.concat_arrays(table[name].chunks).drop_null()[: lacking[name]]
            collector.add(column)
            lacking[name] -= len(column)
    return {name: collector.result() for name, collector in collectors.items()}


def spread(parts: Sequence[Part]) -> list[Part]:
    """The parts, those of ``PLACES`` evenly spaced places first, then their neighbours."""
    stride = max(1, math.ceil(len(parts) / PLACES))
    return [part for start in range(stride) for part in parts[start::stride]]
