"""Sound bytes -> waveform, for models that make features of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.metrics.columns import Sums, counted, distribution
from pipeline.modalities.audio.codec import AudioCodec
from pipeline.modalities.audio.containers.layout import Remark
from pipeline.modalities.base import Decoded, Dense, Item
from pipeline.modalities.codecs import decode_unequal

if TYPE_CHECKING:
    from pipeline.modalities.audio import AudioFilterConfig
    from pipeline.modalities.inputs import Padding

SAMPLE_BYTES = 4  # of a sample


class WaveformCodec(AudioCodec):
    """Decodes a sound to (T,) float32 in -1..1, T <= ``num_samples``: mono, resampled, cut, not padded.

    Args:
        sample_rate_hz: Rate after resampling.
        num_samples: Samples kept.
        max_decoded_seconds: Sounds that decode to more are refused.
        whole: Decodes each sound to its end, so that damage anywhere is seen; otherwise what is kept, and no more.
        limits: Which good sounds are left out; None leaves out none.
        padding: What becomes of shorter sounds where they are collated.
    """

    def __init__(
        self,
        sample_rate_hz: int,
        num_samples: int,
        max_decoded_seconds: float,
        *,
        whole: bool = True,
        limits: AudioFilterConfig | None = None,
        padding: Padding = "pad",
    ) -> None:
        super().__init__(
            sample_rate_hz, num_samples, 0, 1, 0, max_decoded_seconds, whole=whole, limits=limits
        )
        self.padding = padding

    @property
    def column(self) -> pa.Field:
        """``audio``: large_list<float32>, since the sounds of a part may have more than 2^31 samples."""
        rate = {"sample_rate_hz": str(self.sample_rate_hz)}
        return pa.field("audio", pa.large_list(pa.float32()), metadata=rate)

    # Sounds differ in length.
    def empty(self, count: int) -> None:  # type: ignore[override]
        """None: sounds differ in length."""

    def decode(self, data: memoryview, field: str) -> np.ndarray:
        """Decodes one sound to (T,) float32.

        Raises:
            SampleError: Not a sound, damaged, holding no or infinite samples, or longer than the limit.
        """
        return self._decode(data, field)[0]

    def _decode(self, data: memoryview, field: str) -> tuple[np.ndarray, Remark | None]:
        sound, remark = self._sound(data, field)
        return np.asarray(sound, dtype=np.float32), remark

    def decode_batch(
        self, items: Sequence[Item], out: Sequence[np.ndarray] | None = None
    ) -> list[Decoded]:
        """Decodes sounds one by one."""
        return decode_unequal(self.decode_noting, items)

    def to_arrow(self, values: Sequence[np.ndarray | None]) -> pa.Array:
        """(T,) float32 arrays -> a column, null where None."""
        waveforms = [value for value in values if value is not None]
        lengths = [0 if value is None else len(value) for value in values]
        offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int64())
        flat = pa.array(
            np.concatenate(waveforms) if waveforms else np.empty(0, np.float32), pa.float32()
        )
        missing = pa.array([value is None for value in values], pa.bool_())
        return pa.LargeListArray.from_arrays(offsets, flat, type=self.column.type, mask=missing)

    def collate(self, column: pa.Array) -> Dense:
        """A column -> (B, num_samples) float32, filled up as ``padding`` says, and its presence."""
        return Dense(
            of_one_length(column, self.num_samples, self.padding), np.asarray(column.is_valid())
        )


def of_one_length(column: pa.Array, num_samples: int, padding: Padding) -> np.ndarray:
    """Waveforms cut or filled up to one length; silence where there is none, or one without samples.

    Args:
        column: Lists of float32, of any length each.
        num_samples: T.
        padding: What becomes of shorter ones: ``repeat`` repeats them and cuts the last copy, ``repeatpad`` repeats
            them as often as they fit.

    Returns:
        (B, T) float32.
    """
    filled = np.zeros((len(column), num_samples), dtype=np.float32)
    for row, value in enumerate(column):
        sound = value.values.to_numpy()[:num_samples] if value.is_valid else filled[row, :0]
        times = num_samples // len(sound) if len(sound) else 0
        if padding == "repeat":
            sound = np.tile(sound, times + 1)[:num_samples]
        elif padding == "repeatpad":
            sound = np.tile(sound, times)
        filled[row, : len(sound)] = sound
    return filled


class WaveformMeasure:
    """Lengths of the waveforms of a column whose metadata has their rate."""

    def sums(self, column: pa.ChunkedArray, field: pa.Field) -> Sums:
        """How many have which number of samples."""
        return {"lengths": counted(pc.list_value_length(column).drop_null().to_pylist())}

    def statistics(self, sums: Sums, field: pa.Field) -> dict[str, Any]:
        """The distribution of what is heard, in seconds."""
        lengths = {int(length): count for length, count in sums["lengths"].items()}
        rate = int(field.metadata[b"sample_rate_hz"])
        seconds = distribution(lengths)
        return {
            "bytes": sum(length * count for length, count in lengths.items()) * SAMPLE_BYTES,
            "sample_rate_hz": rate,
            "heard_seconds": {
                name: round(value / rate, 6) for name, value in seconds.items() if value is not None
            },
        }
