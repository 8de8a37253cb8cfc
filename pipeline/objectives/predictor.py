"""The stage that holds a bundle and predicts a block of samples at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from pipeline.modalities.decode import Decoder
from pipeline.models.batch import to_device, to_tensors
from pipeline.models.bundle import Bundle
from pipeline.objectives import prediction_fields, restore
from pipeline.sample import ERROR


class Predictor:
    """Blocks of decoded samples in, the same rows with predictions in place of their modalities out.

    Networks see micro-batches of one shape, so that a sample's prediction does not depend on its neighbours, nor on
    how many there are.

    Args:
        bundle: Folder of the bundle.
        batch_size: Samples of a micro-batch.
        num_threads: CPU threads of the network.
        float16: Writes embeddings in half precision.
    """

    def __init__(
        self, bundle: str, batch_size: int, num_threads: int = 1, *, float16: bool = False
    ) -> None:
        torch.set_num_threads(num_threads)
        loaded = Bundle.load(bundle)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model = restore(loaded).to(self.device)
        self.codecs = Decoder.build(loaded.modalities, loaded.tokenizer).codecs
        self.classes = loaded.classes
        self.batch_size = batch_size
        self.fields = prediction_fields(loaded, float16=float16)

    def __call__(self, table: pa.Table) -> pa.Table:
        """Predicts the good rows of a block; bad rows pass with nulls."""
        good = ~table[ERROR].is_valid().to_numpy()
        rows = np.flatnonzero(good)
        predicted = self.predict(table.filter(pa.array(good))) if len(rows) else {}
        table = table.drop_columns(list(self.codecs))
        for field in self.fields:
            column = self._column(field, predicted, rows, len(good))
            table = table.append_column(field, column)
        return table

    def predict(
        self, table: pa.Table, modalities: Sequence[str] | None = None
    ) -> dict[str, np.ndarray]:
        """Predicts a table of good samples.

        Args:
            table: B rows.
            modalities: Those that may be looked at; all unless given.

        Returns:
            Column name -> (B, ...) float32.
        """
        batches = [
            {name: value.float().cpu().numpy() for name, value in outputs.items()}
            for outputs in self._micro_batches(table, modalities)
        ]
        return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}

    @torch.inference_mode()
    def _micro_batches(
        self, table: pa.Table, modalities: Sequence[str] | None
    ) -> Iterator[dict[str, Tensor]]:
        for start in range(0, table.num_rows, self.batch_size):
            rows = table.slice(start, self.batch_size)
            batch = to_device(to_tensors(rows, self.codecs), self.device)
            batch = {name: _padded(value, self.batch_size) for name, value in batch.items()}
            for name in self.codecs:
                if modalities is not None and name not in modalities:
                    batch[f"{name}_present"] = torch.zeros_like(batch[f"{name}_present"])
            outputs = self.model.predict(batch)
            yield {name: value[: rows.num_rows] for name, value in outputs.items()}

    def _column(
        self, field: pa.Field, predicted: Mapping[str, np.ndarray], rows: np.ndarray, count: int
    ) -> pa.Array:
        if not len(rows):
            return pa.nulls(count, field.type)
        probabilities = predicted["probabilities"]
        best = probabilities.argmax(axis=1)
        if field.name == "prediction":
            good = pa.array([self.classes[index] for index in best], field.type)
        elif field.name == "score":
            good = pa.array(probabilities[np.arange(len(best)), best], field.type)
        else:
            flat = predicted[field.name].reshape(-1).astype(field.type.value_type.to_pandas_dtype())
            good = pa.FixedSizeListArray.from_arrays(pa.array(flat), type=field.type)
        places = np.zeros(count, dtype=np.int64)
        places[rows] = np.arange(len(rows))
        absent = np.ones(count, dtype=bool)
        absent[rows] = False
        return good.take(pa.array(places, mask=absent))


def _padded(values: Tensor, size: int) -> Tensor:
    """Repeats the last row until there are ``size`` rows."""
    missing = size - len(values)
    return (
        torch.cat([values, values[-1:].expand(missing, *values.shape[1:])]) if missing else values
    )
