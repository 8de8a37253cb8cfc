"""Plain WAV bytes -> samples, straight from the file; and samples -> plain WAV bytes."""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np

from pipeline.errors import SampleError
from pipeline.modalities.audio.containers.layout import (
    MISSING_SHARE,
    REST,
    Remark,
    is_unknown,
    shortage,
)

MAX_CHANNELS, MAX_RATE_HZ = 1024, 1_000_000  # beyond these a header is more likely damaged
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_SUBFORMAT_TAIL = bytes.fromhex(
    "0000 0000 1000 8000 00aa 0038 9b71"
)  # of a GUID made of a format code
_FMT_BYTES, _EXTENSIBLE_BYTES = 16, 40
_DS64_BYTES = 16
_RIFF_BYTES = 36  # of the header behind the size that it states
_WAVES = (b"RIFF", b"RF64", b"BW64", b"RIFX")
# By the bytes of a sample; those of 3 bytes have no type.
_INTEGERS = {1: "u1", 2: "<i2", 3: "u1", 4: "<i4"}
_FLOATS = {4: "<f4", 8: "<f8"}


class Waves(NamedTuple):
    """Samples as they lie in the file.

    Attributes:
        data: (T, channels) of the file's type, (T, channels, 3) uint8 for 24 bits; a view.
        rate_hz: Samples a second.
        remark: What is odd about the file, and tolerated.
    """

    data: np.ndarray
    rate_hz: int
    remark: Remark | None = None

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


class Format(NamedTuple):
    """How samples are laid out.

    Attributes:
        code: PCM or floats.
        bits: Of a sample that mean something.
        sample_bytes: That a sample takes.
        channels: How many.
        rate_hz: Samples a second.
    """

    code: int
    bits: int
    sample_bytes: int
    channels: int
    rate_hz: int


def read_wav(data: memoryview, field: str) -> Waves | None:
    """Reads PCM of up to 32 bits, in as many bytes as they need or in 4, and floats of 32 or 64, in RIFF or RF64.

    Returns:
        None where another reader should try: other codes, or a file that is not plainly laid out.

    Raises:
        SampleError: The file ends before the declared samples do, declares none, or a format that no sound has.

    Source: RIFF WAVE, Microsoft and IBM 1991; WAVEFORMATEXTENSIBLE, Microsoft 2001; RF64, EBU Tech 3306; BW64, ITU-R
    BS.2088.
    """
    kind = bytes(data[:4])
    if kind not in (b"RIFF", b"RF64", b"BW64") or bytes(data[8:12]) != b"WAVE":
        return None
    offset, layout, long_size = 12, None, None
    while offset + 8 <= len(data):
        name, size = bytes(data[offset : offset + 4]), _little(data, offset + 4, 4)
        content = offset + 8
        if name == b"ds64" and kind != b"RIFF" and size >= _DS64_BYTES:
            long_size = _little(data, content + 8, 8)
        elif name == b"fmt " and content + size <= len(data):
            layout = _format(data[content : content + size], field)
        elif name == b"data":
            if layout is None:
                return None
            size, remark = _sound_bytes(data, content, size, long_size, layout, field)
            return _waves(data, content, size, layout, remark, field)
        elif not _is_name(name):
            return None
        offset = content + size + size % 2
    return None


def write_wav(waveform: np.ndarray, rate_hz: int) -> bytes:
    """A sound as WAV of one channel and 16-bit integers; :func:`read_wav` gives it back to half a step.

    Args:
        waveform: (T,) float32; beyond -1..1 it is cut.
        rate_hz: Samples a second.

    Raises:
        ValueError: It holds NaN or infinite samples.
    """
    if not np.isfinite(waveform).all():
        raise ValueError("a sound with NaN or infinite samples cannot be written as WAV")
    steps = np.clip(np.rint(waveform * 2.0**15), -(2**15), 2**15 - 1).astype("<i2").tobytes()
    layout = struct.pack("<4sIHHIIHH", b"fmt ", _FMT_BYTES, _PCM, 1, rate_hz, 2 * rate_hz, 2, 16)
    head = struct.pack("<4sI4s", b"RIFF", _RIFF_BYTES + len(steps), b"WAVE")
    return head + layout + struct.pack("<4sI", b"data", len(steps)) + steps


def _sound_bytes(
    data: memoryview, start: int, size: int, long_size: int | None, layout: Format, field: str
) -> tuple[int, Remark | None]:
    """How many bytes of sound are there, and what is odd about that.

    Raises:
        SampleError: The file declares more than 1 % more, or more sound follows.
    """
    held = len(data) - start
    bits = 32
    if long_size is not None and is_unknown(size, held):
        size, bits = long_size, 64
    if is_unknown(size, held, bits) and (size or not _is_chunk(data, start)):
        return held, None
    try:
        remark = shortage(
            "the WAV", size, held, frame=layout.channels * layout.sample_bytes
        ) or _behind(data, start + size, size)
    except ValueError as error:
        raise SampleError(str(error), reason="bad_audio", field=field) from None
    return min(size, held), remark


def _behind(data: memoryview, end: int, size: int) -> Remark | None:
    """Looks at what follows the sound: chunks, zeros, or bytes that are none of both.

    Raises:
        ValueError: More sound does.
    """
    offset = end + end % 2
    if not _is_name(bytes(data[offset : offset + 4])) and _is_chunk(data, end):
        offset = end  # the byte that evens the size was forgotten
    while offset + 8 <= len(data):
        name = bytes(data[offset : offset + 4])
        if name == b"data" or name in _WAVES:
            raise ValueError(f"behind its {size} bytes of sound, the WAV holds more sound")
        if not _is_chunk(data, offset):
            break
        length = _little(data, offset + 4, 4)
        offset += 8 + length + length % 2
    num_behind = len(bytes(data[offset:]).strip(b"\0"))
    if num_behind <= size * MISSING_SHARE:
        return None
    return Remark(
        REST, f"behind {size} bytes of sound, the WAV holds {num_behind} that belong to no chunk"
    )


def _waves(
    data: memoryview, start: int, size: int, layout: Format, remark: Remark | None, field: str
) -> Waves:
    width = layout.sample_bytes
    count = size // (layout.channels * width)
    if not count:
        raise SampleError("the sound holds no samples", reason="bad_audio", field=field)
    shape: tuple[int, ...] = (count, layout.channels)
    if layout.code == _PCM and width == 3:
        shape = (*shape, 3)
    kind = _INTEGERS[width] if layout.code == _PCM else _FLOATS[width]
    flat = np.frombuffer(data, dtype=kind, count=int(np.prod(shape)), offset=start)
    samples = flat.reshape(shape)
    if layout.code == _PCM and layout.bits <= 8 * (width - 1):
        samples = _justified(samples, layout.bits, field)
    return Waves(samples, layout.rate_hz, remark)


def _justified(samples: np.ndarray, bits: int, field: str) -> np.ndarray:
    """Samples with a whole byte to spare, so that their highest bit is that of the whole.

    They are to stand at the high end, with zeros below (WAVEFORMATEXTENSIBLE). arecord's S24_LE and others stand at
    the low end, below copies of the sign, or zeros.

    Args:
        samples: (T, channels) int32.
        bits: That mean something.
        field: The sound's extension.

    Raises:
        SampleError: They stand at neither end.
    """
    spare = 32 - bits
    if not (samples & ((1 << spare) - 1)).any():
        return samples
    above, negative = samples >> bits, samples >> bits - 1 & 1
    if not above.any() or np.array_equal(above, -negative):
        return samples << spare
    what = f"the {bits} bits of the WAV's samples stand at neither end of their 32"
    raise SampleError(what, reason="bad_audio", field=field)


def _format(chunk: memoryview, field: str) -> Format | None:
    """The format; None where it is not read here.

    Raises:
        SampleError: No sound has such a format.
    """
    if len(chunk) < _FMT_BYTES:
        return None
    code, channels, rate = _little(chunk, 0, 2), _little(chunk, 2, 2), _little(chunk, 4, 4)
    frame, bits = _little(chunk, 12, 2), _little(chunk, 14, 2)
    valid = bits
    if (
        code == _EXTENSIBLE
        and len(chunk) >= _EXTENSIBLE_BYTES
        and bytes(chunk[26:40]) == _SUBFORMAT_TAIL
    ):
        code, valid = _little(chunk, 24, 2), _little(chunk, 18, 2)
    if not 0 < channels <= MAX_CHANNELS or not 0 < rate <= MAX_RATE_HZ:
        what = f"the WAV declares {channels} channels at {rate} Hz"
        raise SampleError(what, reason="bad_audio", field=field)
    width = -(-bits // 8)
    if code == _PCM and 16 < bits <= 32 and frame == 4 * channels:
        width = 4
    supported = (code == _PCM and width in _INTEGERS) or (code == _FLOAT and bits in (32, 64))
    if supported and frame != channels * width:
        what = f"the WAV declares {frame} bytes for {channels} samples of {bits} bits"
        raise SampleError(what, reason="bad_audio", field=field)
    if code == _PCM and 0 < valid < bits:
        bits = valid
    return Format(code, bits, width, channels, rate) if supported else None


def _widened(samples: np.ndarray) -> np.ndarray:
    """(..., 3) uint8 -> int32, in its top three bytes."""
    deep = np.zeros((*samples.shape[:-1], 4), dtype=np.uint8)
    deep[..., 1:] = samples
    widened: np.ndarray = deep.view("<i4")[..., 0]
    return widened


def _to_float32(data: np.ndarray) -> np.ndarray:
    """(T, channels) of any of the file's types -> float32 in -1..1, as libsndfile scales them."""
    if data.dtype.kind == "f":
        with np.errstate(over="ignore"):
            return data.astype(np.float32)
    if data.ndim == 3:  # 24 bits: the top three bytes of 32
        data = _widened(data)
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
