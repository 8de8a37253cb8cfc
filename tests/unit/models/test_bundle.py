"""A bundle is taken whole or not at all, and only for the objective that it was trained for."""

import json
from functools import reduce
from hashlib import blake2b
from pathlib import Path

import pytest
from support.encoders import png, sample
from support.sealed import seal

from pipeline.config import load
from pipeline.engine.infer.predictors import model_spec
from pipeline.engine.plans.infer import inference_sink
from pipeline.errors import ModelError
from pipeline.models.bundle import Bundle
from pipeline.objectives.sealed import check_objective, prediction_fields
from pipeline.prediction.predictor import load_predictor
from pipeline.prediction.spec import open_model
from pipeline.sinks.parquet import ParquetSink
from pipeline.sinks.provenance import identity_digest
from pipeline.sinks.snapshots.manifest import FORMAT

KEPT = {"epoch": 8, "of": 12, "chosen_by": "val_accuracy"}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "c.yaml"
    path.write_text(
        "run: r\n"
        "modalities:\n"
        "  image: {fields: [png], size: 8, encoder: {kind: vit, layers: 1}}\n"
        "  text: {fields: [txt], vocab_size: 300}\n"
        "objective: {kind: classify, label: cls, width: 32, fusion: {kind: concat}}\n"
    )
    return path


@pytest.fixture
def folder(config: Path, tmp_path: Path) -> Path:
    seal(config, tmp_path / "m", ["a", "b"], ["some words"], {"kept": KEPT, "samples": 7})
    return tmp_path / "m"


def change(folder: Path, **values: object) -> None:
    path = folder / "bundle.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_what_was_saved_is_loaded(folder: Path) -> None:
    bundle = Bundle.load(str(folder))
    assert bundle.learned == {"classes": ["a", "b"]}
    assert bundle.training["kept"] == KEPT
    assert json.loads((folder / "bundle.json").read_text())["fingerprint"] == bundle.fingerprint
    assert "epoch 8 of 12" in (folder / "README.md").read_text()


@pytest.mark.parametrize(
    "forged",
    [
        {"metrics": {"val_accuracy": 0.999}},
        {"training": {"kept": {**KEPT, "epoch": 12}, "samples": 7}},
        {"learned": {"classes": ["b", "a"]}},
        {"fingerprint": "0" * 32},
        {"note": "what no version has written"},
    ],
    ids=lambda values: next(iter(values)),
)
def test_a_forged_description_is_refused(folder: Path, forged: dict[str, object]) -> None:
    change(folder, **forged)
    with pytest.raises(ModelError, match="the fingerprint does not hold"):
        Bundle.load(str(folder))


@pytest.mark.parametrize("name", ["weights.safetensors", "tokenizer.json"])
def test_files_of_another_bundle_are_refused(folder: Path, name: str) -> None:
    data = bytearray((folder / name).read_bytes())
    data[-3] ^= 1
    (folder / name).write_bytes(bytes(data))
    with pytest.raises(ModelError, match="the fingerprint does not hold"):
        Bundle.load(str(folder))


def test_a_bundle_of_another_format_is_named(folder: Path) -> None:
    change(folder, format=1)
    with pytest.raises(
        ModelError, match=r"format 1, and this version reads 2 and 3.*train the model again"
    ):
        Bundle.load(str(folder))


def sealed_before(folder: Path, *paths: str) -> str:
    """Makes the bundle one of a version that had no such settings yet; returns the fingerprint that it gave it."""
    manifest = json.loads((folder / "bundle.json").read_text())
    del manifest["fingerprint"]
    for path in paths:
        *sections, name = path.split(".")
        del reduce(dict.__getitem__, sections, manifest)[name]
    digest = blake2b(json.dumps(manifest, sort_keys=True).encode(), digest_size=16)
    for name in ("tokenizer.json", "weights.safetensors"):
        digest.update((folder / name).read_bytes())
    manifest["fingerprint"] = digest.hexdigest()
    (folder / "bundle.json").write_text(json.dumps(manifest))
    return digest.hexdigest()


NEWER = (
    "modalities.image.encoder.dropout",
    "modalities.text.encoding",
    "objective.label_smoothing",
    "objective.fusion.dropout",
)  # all with their defaults


def test_a_bundle_that_was_written_before_a_setting_was_there_means_the_default(
    config: Path, folder: Path
) -> None:
    samples = [sample("k", 0, txt=b"some words", png=png(0))]

    def predicted() -> tuple[str, list[object]]:
        spec = model_spec(load(config, [f"infer.model={folder}"]))
        model = open_model(spec)
        table = load_predictor(spec)(model.decoder().decode(samples, "part"))
        return model.fingerprint, table.select(["embedding", "probabilities"]).to_pylist()

    with_it, rows = predicted()
    fingerprint = sealed_before(folder, *NEWER)
    assert fingerprint != with_it
    assert predicted() == (fingerprint, rows)
    bundle = Bundle.load(str(folder))
    check_objective(bundle, load(config).require_objective().model_dump(mode="json"), "here")
    for override, setting in (
        ("modalities.image.encoder.dropout=0.3", r"image\.encoder\.dropout is 0\.3"),
        ("objective.fusion.dropout=0.3", r"fusion\.dropout is 0\.3"),
    ):
        with pytest.raises(ModelError, match=setting):
            open_model(model_spec(load(config, [f"infer.model={folder}", override])))
    bundle.save(str(folder))
    assert Bundle.load(str(folder)).fingerprint == fingerprint, "as it was written, for ever"
    manifest = json.loads((folder / "bundle.json").read_text())
    manifest["modalities"]["text"]["max_tokens"] += 1
    (folder / "bundle.json").write_text(json.dumps(manifest))
    with pytest.raises(ModelError, match="the fingerprint does not hold") as refused:
        Bundle.load(str(folder))
    assert refused.value.exit_code == 2


def test_what_a_model_wrote_before_a_setting_was_there_is_of_that_model(
    config: Path, folder: Path, tmp_path: Path
) -> None:
    """Its identity goes on being that of the output, so that nights add to the same rows."""
    sealed_before(folder, *NEWER)
    chosen = [f"infer.model={folder}", "infer.input=x.tar", f"run={tmp_path}"]

    def output(*overrides: str) -> ParquetSink:
        changed = load(config, [*chosen, *overrides])
        sink = inference_sink(changed, open_model(model_spec(changed)), str(tmp_path / "out"))
        assert isinstance(sink, ParquetSink)
        return sink

    identity = json.loads(json.dumps(output().identity | {"format": FORMAT}))
    noted = tmp_path / "out" / "_commit" / "_identity.json"
    noted.parent.mkdir(parents=True)
    del identity["modalities"]["text"]["encoding"]
    noted.write_text(
        json.dumps(
            identity | {"modalities": {**identity["modalities"], "image": {"fields": ["png"]}}}
        )
    )
    assert "image.size was None and is now 8" in str(output().provenance.difference())
    noted.write_text(json.dumps(identity))
    sink = output()
    assert sink.provenance.difference() == ""
    assert identity_digest(sink.identity) == identity_digest(identity), "of manifest and records"
    assert "metadata" in (output("input.metadata=[json.x]").provenance.difference() or "")


# What the version before wrote for a classifier of two classes with the weights b"no weights".
FLAT = {
    "format": 2,
    "objective": {
        "kind": "classify", "label": "cls", "classes": None, "fusion": {"dropout": 0.1, "kind": "concat"}, "width": 32,
        "dropout": 0.1, "modality_dropout": 0.2, "label_smoothing": 0.05, "unimodal_weight": 1.0,
    },
    "modalities": {"image": {"fields": ["png"], "size": 8}, "text": None, "audio": None},
    "classes": ["a", "b"],
    "metrics": {"val_accuracy": 0.5},
    "training": {"kept": {"epoch": 1, "of": 2, "chosen_by": "val_accuracy"}},
    "fingerprint": "055351ea83473180cb3cc89b2e45bc95",
}  # fmt: skip


def test_a_bundle_of_the_format_before_is_read_with_its_fingerprint(tmp_path: Path) -> None:
    """What was written with it goes on being known as written with it."""
    (tmp_path / "bundle.json").write_text(json.dumps(FLAT))
    (tmp_path / "weights.safetensors").write_bytes(b"no weights")
    bundle = Bundle.load(str(tmp_path))
    assert bundle.learned == {"classes": ["a", "b"]}
    assert bundle.fingerprint == FLAT["fingerprint"]
    assert [field.name for field in prediction_fields(bundle, float16=False)] == [
        "embedding", "prediction", "score", "probabilities",
    ]  # fmt: skip
    bundle.save(str(tmp_path / "again"))
    assert Bundle.load(str(tmp_path / "again")) == bundle
    change(tmp_path, classes=["b", "a"])
    with pytest.raises(ModelError, match="the fingerprint does not hold"):
        Bundle.load(str(tmp_path))


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("objective.width=64", "objective.width is 64 in the configuration and 32 in the model"),
        ("objective.label=json.kind", "objective.label is json.kind in the configuration and cls"),
        ("objective.fusion={kind: late}", "objective.fusion.kind is late in the configuration and concat in"),
        ("objective.dropout=0.5", "objective.dropout is 0.5"),
        ("objective.classes=[a, c]", 'objective.classes is ["a", "c"] in the configuration and ["a", "b"]'),
    ],
)  # fmt: skip
def test_another_objective_is_refused_and_named(
    config: Path, folder: Path, override: str, words: str
) -> None:
    bundle = Bundle.load(str(folder))
    objective = load(config, [override]).require_objective()
    with pytest.raises(ModelError) as refused:
        check_objective(bundle, objective.model_dump(mode="json"), "configuration")
    assert words in str(refused.value)
    for same in ("objective.width=32", "objective.classes=[a, b]"):
        objective = load(config, [same]).require_objective()
        check_objective(bundle, objective.model_dump(mode="json"), "configuration")
    check_objective(bundle, None, "configuration")


def test_who_opens_a_bundle_holds_it_against_the_configuration(config: Path, folder: Path) -> None:
    given = [f"infer.model={folder}"]
    model = open_model(model_spec(load(config, given)))
    assert model.fingerprint == Bundle.load(str(folder)).fingerprint
    open_model(model_spec(load(config, [*given, "objective=null"])))
    for override, name in (
        ("objective.width=64", "objective.width"),
        ("modalities.image.size=16", "size"),
    ):
        with pytest.raises(ModelError, match=name):
            open_model(model_spec(load(config, [*given, override])))
