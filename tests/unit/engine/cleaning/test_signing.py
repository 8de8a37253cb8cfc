"""Which samples are compared with others: those that the job itself takes."""

import io
import tarfile
from pathlib import Path

import numpy as np

from pipeline.config import validate
from pipeline.engine.cleaning.signing import Signer, load, read_keys
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.modalities.text.codec import train_tokenizer
from pipeline.shards.planning.plan import Part
from pipeline.shards.reading.reader import read_part


def test_halves_of_a_sample_are_no_copies_of_any_other(tmp_path: Path) -> None:
    """Where only the end of a shard shows that one is no whole sample, a good one would be left out for it."""
    names = ["a.txt", "b.txt", "c.txt", "a.cls"]  # a and c hold the same text
    with tarfile.open(tmp_path / "s.tar", "w") as tar:
        for name in names:
            data = b"b" if name == "b.txt" else b"the same text"
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    config = validate({"run": f"{tmp_path}/run", "modalities": {"text": {}}})
    part = Part("s.tar", str(tmp_path / "s.tar"), "0")  # whole, as one that is not cut by planning
    tokenizer = train_tokenizer(iter(["b", "the same text"]), 300)
    decoder = Decoder.build(config.modalities, tokenizer, **config.handling())
    taken = decoder.decode(read_part(part), part.to_json())
    good = [row["key"] for row in taken.to_pylist() if row["error"] is None]
    signer = Signer.build(config, decoder)
    assert signer(part) == len(good)
    signed = load(signer, [part])
    keys = read_keys(signer, part, np.arange(len(signed.ordinals)))
    assert keys.to_pylist() == good == ["b", "c"]
