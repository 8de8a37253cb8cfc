"""What a sample holds, byte for byte, in 128 bits."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b

import numpy as np

from pipeline.modalities.hashing import mixed

HASH_BYTES = (
    16  # among a billion samples, the chance that any two different ones share a hash is 1e-21
)


def content_hash(members: Mapping[str, memoryview]) -> bytes:
    """128 bits of a sample's members, whatever their extensions and order.

    Args:
        members: Modality -> the bytes that are decoded for it.
    """
    digest = blake2b(digest_size=HASH_BYTES)
    for name in sorted(members):
        # With their lengths, so that no byte can move from one member to the next.
        digest.update(f"{name}:{len(members[name])}:".encode())
        digest.update(members[name])
    return digest.digest()


def row_hashes(rows: np.ndarray) -> np.ndarray:
    """64 bits of each row, the same for the same rows.

    Args:
        rows: (N, W) uint8.

    Returns:
        (N,) uint64.

    Source: FNV-1a on words of 64 bits (Fowler, Noll, Vo 1991), with the finalizer of SplitMix64 (Steele et al. 2014).
    """
    padded = np.zeros((len(rows), -(-rows.shape[1] // 8) * 8), dtype=np.uint8)
    padded[:, : rows.shape[1]] = rows
    hashes = np.full(len(rows), 0xCBF29CE484222325, dtype=np.uint64)
    for word in padded.view(np.uint64).T:
        hashes = mixed((hashes ^ word) * np.uint64(0x100000001B3))
    return hashes
