"""What encoders are given is decoded in the process that looks after decoders, too."""

from pathlib import Path

from support.encoders import png, save_clap, spec, tone
from support.tones import write_tar

from pipeline.config import validate
from pipeline.engine.cleaning.signing import Signer, load
from pipeline.engine.decoding.isolated import decode_isolated, end_child
from pipeline.engine.infer.predictors import model_spec
from pipeline.engine.plans.infer import _comparing
from pipeline.prediction.spec import open_model
from pipeline.shards.planning.plan import expand, plan
from pipeline.shards.reading.reader import read_part


def test_sounds_and_texts_come_whole_out_of_the_child(tmp_path: Path) -> None:
    samples = {
        f"s{at}": {"wav": tone(at, 0.1 + 0.2 * at), "txt": f"text {at}".encode(), "png": png(at)}
        for at in range(6)
    }
    del samples["s2"]["wav"], samples["s3"]["txt"]
    samples["s4"]["wav"] = samples["s4"]["wav"][:60]
    samples["s5"] = {"png": png(5)}
    write_tar(tmp_path / "a.tar", samples)
    decoder = open_model(spec(f"hf:{save_clap(tmp_path / 'clap', fused=False)}")).decoder()
    [part] = plan(expand(str(tmp_path / "a.tar")))
    here = decoder.decode(read_part(part), part.to_json())
    try:
        there = decode_isolated(part, decoder)
    finally:
        end_child()
    assert there.equals(here)
    lengths = [None if each is None else len(each) for each in there["audio"].to_pylist()]
    assert lengths == [800, 2400, None, 5600, None, None]
    assert there["text"].to_pylist() == ["text 0", "text 1", "text 2", None, None, None]
    reasons = [error and error["reason"] for error in there["error"].to_pylist()]
    assert reasons == [None, None, None, None, "bad_audio", "filtered_modality"]


def test_copies_are_looked_for_as_configured(tmp_path: Path) -> None:
    """Sounds and images are compared in the form that signatures are made for, not in the encoder's."""
    samples = {
        f"s{at}": {"wav": tone(at % 2), "txt": b"a song", "png": png(at % 2)} for at in range(4)
    }
    write_tar(tmp_path / "a.tar", samples)
    config = validate(
        {
            "run": f"{tmp_path}/run",
            "modalities": {"image": {"fields": ["png"]}, "text": {}, "audio": {}},
            "infer": {"input": f"{tmp_path}/a.tar", "model": f"hf:{tmp_path}/clap"},
            "cleaning": {"duplicates": "near"},
            "limits": {"isolate": False},
        }
    )
    save_clap(tmp_path / "clap", fused=False)
    model = open_model(model_spec(config))
    signer = Signer.build(config, _comparing(config, model, model.decoder()))
    [part] = plan(expand(config.infer.input))
    assert signer(part) == 4
    signed = load(signer, [part])
    for name in ("image", "text", "audio"):
        rows = signed.rows[name]
        assert signed.present[name].all()
        assert (rows[0] == rows[2]).all()
        assert (rows[0] != rows[1]).any() or name == "text"
