"""Vorbis and Opus: how many samples a packet holds, without decoding it."""

from __future__ import annotations

from collections.abc import Sequence

OPUS_RATE_HZ = 48_000
_VORBIS_HEADERS = 3
_MODE_BITS, _MAX_MODES = 41, 64
# In units of 2.5 ms, by the configuration: SILK of 10 to 60 ms, hybrid of 10 and 20, CELT of 2.5 to 20.
_OPUS_FRAMES = (*(4, 8, 16, 24) * 3, *(4, 8) * 2, *(1, 2, 4, 8) * 4)


def opus_samples(packet: bytes) -> int:
    """Samples of 48 kHz that an Opus packet holds.

    Source: RFC 6716, 3.1 and 3.2.
    """
    if not packet:
        return 0
    code = packet[0] & 3
    many = packet[1] & 63 if code == 3 and len(packet) > 1 else (0, 1, 1, 0)[code] + 1
    return _OPUS_FRAMES[packet[0] >> 3] * (OPUS_RATE_HZ // 400) * many


def vorbis_samples(packets: Sequence[bytes]) -> int:
    """Samples that the first packets of a Vorbis stream hold together: a packet gives the half of it that the next
    one overlaps.

    Args:
        packets: From the first on, the three headers included.

    Source: Vorbis I, 1.3.2, 4.2 and 4.3.
    """
    if len(packets) <= _VORBIS_HEADERS or len(packets[0]) < 29:
        return 0
    sizes = 1 << (packets[0][28] & 15), 1 << (packets[0][28] >> 4)
    long_modes = _long_modes(packets[2])
    mask = (1 << (len(long_modes) - 1).bit_length()) - 1 if long_modes else 0
    samples = before = 0
    for packet in packets[_VORBIS_HEADERS:]:
        if not packet or packet[0] & 1:
            continue
        mode = packet[0] >> 1 & mask
        size = sizes[mode < len(long_modes) and long_modes[mode]]
        samples += (before + size) // 4 if before else 0
        before = size
    return samples


def _long_modes(setup: bytes) -> list[bool]:
    """Whether each mode has the long block; found from the end of the header, where the modes stand.

    A mode is a flag of its block, 32 zeros, and the number of a mapping below 64; their number stands before them.
    """
    bits = int.from_bytes(setup[-(_MAX_MODES * _MODE_BITS // 8 + 8) :], "little")
    end = bits.bit_length() - 1  # the last bit is always set
    modes: list[bool] = []
    long_modes: list[bool] = []
    while end >= _MODE_BITS + 6 and len(modes) < _MAX_MODES:
        end -= _MODE_BITS
        mode = bits >> end & ((1 << _MODE_BITS) - 1)
        if mode >> 1 & 0xFFFFFFFF or mode >> 33 >= _MAX_MODES:
            break
        modes.insert(0, bool(mode & 1))
        if (bits >> end - 6 & 63) + 1 == len(modes):
            long_modes = list(modes)
    return long_modes
