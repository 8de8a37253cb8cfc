"""Decodes one part, wherever it is done: in the cache, in a preprocessed folder, or from its shard."""

from __future__ import annotations

import threading

import pyarrow as pa

from pipeline.engine.decoding.cache import CachedDecoder, cached
from pipeline.engine.decoding.decoded_folder import is_decoded, read_decoded_part
from pipeline.engine.decoding.isolated import decode_here, decode_isolated
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.shards.planning.plan import Part

_IN_THIS_PROCESS = threading.Lock()  # codecs keep buffers, which threads would share


def decode_part(part: Part, decoder: Decoder) -> pa.Table:
    """Reads and decodes one part, or finds it in the decoder's cache: a row for every sample, good or bad.

    A sample that crashes its decoder, hangs it or makes it eat memory is a bad row like any other.
    """

    def decode() -> pa.Table:
        if is_decoded(part):
            return read_decoded_part(part, decoder)
        if decoder.limits.isolate:
            return decode_isolated(part, decoder)
        with _IN_THIS_PROCESS:
            return decode_here(part, decoder)

    return cached(decoder.cache, part, decode) if isinstance(decoder, CachedDecoder) else decode()
