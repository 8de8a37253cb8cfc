"""Plain WAV bytes -> samples, straight from the file."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pipeline.errors import SampleError

# What programs write for a size that they do not know when they begin.
STREAMED = (0xFFFFFFFF, 0x7FFFFFFF)  # or 0
MAX_CHANNELS, MAX_RATE_HZ = 1024, 1_000_000  # beyond these a header is more likely damaged
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_SUBFORMAT_TAIL = bytes.fromhex(
    "0000 0000 1000 8000 00aa 0038 9b71"
)  # of a GUID made of a format code
_FMT_BYTES = 16
_DS64_BYTES = 16
_TYPES = {
    (_PCM, 8): "u1",
    (_PCM, 16): "<i2",
    (_PCM, 32): "<i4",
    (_FLOAT, 32): "<f4",
    (_FLOAT, 64): "<f8",
}


class Waves(NamedTuple):
    """Samples as they lie in the file.

    Attributes:
        data: (T, channels) of the file's type, (T, channels, 3) uint8 for 24 bits; a view.
        rate_hz: Samples a second.
    """

    data: np.ndarray
    rate_hz: int

    def mono(self, count: int) -> np.ndarray:
        """The mean of the channels of the first ``count`` samples, (T,) float32 in -1..1."""
        scaled = _to_float32(self.data[:count])
        return scaled[:, 0] if scaled.shape[1] == 1 else scaled.mean(axis=1)

    def finite(self) -> bool:
        """Whether no sample is NaN or infinite, in float32."""
        if self.data.dtype.kind != "f":
            return True
        with np.errstate(over="ignore"):
            return bool(np.isfinite(self.data.astype(np.float32, copy=False)).all())


def read_wav(data: memoryview, field: str) -> Waves | None:
    """Reads PCM of 8, 16, 24 or 32 bits and floats of 32 or 64 bits, in RIFF or RF64.

    Returns:
        None where another reader should try: other codes, or a file that is not plainly laid out.

    Raises:
        SampleError: The file ends before the declared samples do, declares none, or a format that no sound has.

    Source: RIFF WAVE, Microsoft and IBM 1991; WAVEFORMATEXTENSIBLE, Microsoft 2001; RF64, EBU Tech 3306.
    """
    kind = bytes(data[:4])
    if kind not in (b"RIFF", b"RF64") or bytes(data[8:12]) != b"WAVE":
        return None
    offset, layout, long_size = 12, None, None
    while offset + 8 <= len(data):
        name, size = bytes(data[offset : offset + 4]), _little(data, offset + 4, 4)
        content = offset + 8
        if name == b"ds64" and kind == b"RF64" and size >= _DS64_BYTES:
            long_size = _little(data, content + 8, 8)
        elif name == b"fmt " and content + size <= len(data):
            layout = _layout(data[content : content + size], field)
        elif name == b"data":
            if layout is None:
                return None
            if size in STREAMED or (not size and not _is_chunk(data, content)):
                size = long_size if long_size is not None else len(data) - content
            return _waves(data, content, size, *layout, field=field)
        elif not _is_name(name):
            return None
        offset = content + size + size % 2
    return None


def _waves(
    data: memoryview,
    start: int,
    size: int,
    code: int,
    bits: int,
    channels: int,
    rate: int,
    *,
    field: str,
) -> Waves | None:
    held = len(data) - start
    if size > held:
        what = f"the WAV declares {size} bytes of sound and holds {held}"
        raise SampleError(what, reason="bad_audio", field=field)
    count = size // (channels * bits // 8)
    if not count:
        raise SampleError("the sound holds no samples", reason="bad_audio", field=field)
    shape: tuple[int, ...] = (count, channels)
    if bits == 24:
        kind, shape = "u1", (*shape, 3)
    else:
        kind = _TYPES[code, bits]
    flat = np.frombuffer(data, dtype=kind, count=int(np.prod(shape)), offset=start)
    return Waves(flat.reshape(shape), rate)


def _layout(chunk: memoryview, field: str) -> tuple[int, int, int, int] | None:
    """Code, bits, channels and rate of a format that is read here.

    Raises:
        SampleError: No sound has such a format.
    """
    if len(chunk) < _FMT_BYTES:
        return None
    code, channels, rate = _little(chunk, 0, 2), _little(chunk, 2, 2), _little(chunk, 4, 4)
    frame, bits = _little(chunk, 12, 2), _little(chunk, 14, 2)
    if code == _EXTENSIBLE and len(chunk) >= 40 and bytes(chunk[26:40]) == _SUBFORMAT_TAIL:
        code = _little(chunk, 24, 2)
    if not 0 < channels <= MAX_CHANNELS or not 0 < rate <= MAX_RATE_HZ:
        what = f"the WAV declares {channels} channels at {rate} Hz"
        raise SampleError(what, reason="bad_audio", field=field)
    known = (code, bits) in _TYPES or (code, bits) == (_PCM, 24)
    if known and frame != channels * bits // 8:
        what = f"the WAV declares {frame} bytes for {channels} samples of {bits} bits"
        raise SampleError(what, reason="bad_audio", field=field)
    return (code, bits, channels, rate) if known else None


def _to_float32(data: np.ndarray) -> np.ndarray:
    """(T, channels) of any of the file's types -> float32 in -1..1, as libsndfile scales them."""
    if data.dtype.kind == "f":
        with np.errstate(over="ignore"):
            return data.astype(np.float32)
    if data.ndim == 3:  # 24 bits: the top three bytes of 32
        deep = np.zeros((*data.shape[:2], 4), dtype=np.uint8)
        deep[..., 1:] = data
        data = deep.view("<i4")[..., 0]
    if data.dtype.kind == "u":
        return (data.astype(np.float32) - np.float32(128)) * np.float32(1 / 128)
    scaled = data.astype(np.float32)
    scaled *= np.float32(2.0 ** (1 - 8 * data.dtype.itemsize))
    return scaled


def _is_name(name: bytes) -> bool:
    return name.isascii() and name.decode().isprintable()


def _is_chunk(data: memoryview, offset: int) -> bool:
    """Whether a chunk begins here that ends within the file."""
    name, size = bytes(data[offset : offset + 4]), _little(data, offset + 4, 4)
    return offset + 8 + size <= len(data) and _is_name(name)


def _little(data: memoryview, start: int, length: int) -> int:
    return int.from_bytes(data[start : start + length], "little")
