"""Rows that the decoding process makes up are taken for no other part's."""

import json
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pytest
from support.tones import make_samples, write_tar

from pipeline.engine.decoding import isolated as engine
from pipeline.engine.decoding.isolated import decode_here, decode_isolated, end_child
from pipeline.errors import InputError
from pipeline.modalities import ModalitiesConfig
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.modalities.decoding.watch import Care, Watch
from pipeline.sample import PART
from pipeline.shards.planning.plan import Part, expand, plan

DECODER = Decoder.build(
    ModalitiesConfig.model_validate({"image": {"fields": ["png"], "size": 8}}), None
)


@dataclass(frozen=True)
class Forging:
    """Decodes as it should, and says that the rows are of another attempt, whose files lie elsewhere."""

    part: Part

    def __call__(self, decoder: Decoder, watch: Watch, care: Care) -> pa.Table:
        table = decode_here(self.part, decoder, watch, care)
        told = json.dumps(json.loads(self.part.to_json()) | {"retry": "/../../elsewhere"})
        place = table.schema.get_field_index(PART)
        return table.set_column(place, table.schema.field(PART), pa.array([told] * len(table)))


@dataclass(frozen=True)
class Lacking(Forging):
    """Leaves a column out."""

    def __call__(self, decoder: Decoder, watch: Watch, care: Care) -> pa.Table:
        return decode_here(self.part, decoder, watch, care).drop_columns(["image"])


@pytest.mark.parametrize("forging", [Forging, Lacking])
def test_rows_of_another_part_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forging: type[Forging]
) -> None:
    [part] = plan(expand(str(write_tar(tmp_path / "x.tar", make_samples(3, seed=1)))))
    try:
        assert decode_isolated(part, DECODER).num_rows == 3
        monkeypatch.setattr(engine, "_Decoding", forging)
        with pytest.raises(InputError, match="other rows than those of this part"):
            decode_isolated(part, DECODER)
    finally:
        end_child()
