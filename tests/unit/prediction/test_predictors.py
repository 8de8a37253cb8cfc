"""How networks are run: precision, compiler, and which modalities a bundle is shown."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import timm
import torch
from safetensors.torch import save_file
from support.encoders import decode, embed, matrix, png, sample, spec, tone
from support.sealed import seal

from pipeline.errors import ModelError
from pipeline.models.bundle import Bundle
from pipeline.objectives.sealed import restore
from pipeline.prediction.bundle import BundlePredictor
from pipeline.prediction.predictor import load_predictor
from pipeline.prediction.spec import ModelSpec

CLASSES = ("bell", "bird", "dog")
needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="there is no C++ compiler")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A network of three modalities, of random weights."""
    folder = tmp_path_factory.mktemp("sealed")
    config = folder / "job.yaml"
    config.write_text(
        """
run: run
modalities:
  image: {fields: [png], size: 16}
  text: {fields: [txt], max_tokens: 8, vocab_size: 280}
  audio: {fields: [wav], sample_rate_hz: 8000, max_seconds: 0.3, num_mels: 20}
objective: {kind: classify, label: cls, width: 32, fusion: {kind: attention}}
""",
        encoding="utf-8",
    )
    seal(config, folder / "model", CLASSES, [f"text of {name}" for name in CLASSES])
    return Bundle.load(str(folder / "model"))


@pytest.fixture
def wanted(bundle: Bundle, tmp_path: Path) -> ModelSpec:
    """The bundle, to be run over eight samples at a time."""
    bundle.save(str(tmp_path / "model"))
    modalities = bundle.modalities.model_dump(exclude_none=True)
    return spec(str(tmp_path / "model"), modalities=modalities)


def decoded(wanted: ModelSpec) -> pa.Table:
    """Eleven samples, each without another of its modalities, or without none."""
    samples = []
    for number in range(11):
        fields = {"png": png(number), "txt": b"some text %d" % number, "wav": tone(number)}
        fields.pop(("png", "txt", "wav", "")[number % 4], None)
        samples.append(sample(f"k{number}", number, **fields))
    return decode(wanted, samples)


def test_a_bundle_is_shown_the_modalities_that_are_asked_for(
    bundle: Bundle, wanted: ModelSpec
) -> None:
    """As the network alone says, given each sample on its own."""
    predictor, network, table = BundlePredictor(wanted), restore(bundle), decoded(wanted)
    names = list(predictor.codecs)
    for subset in itertools.chain.from_iterable(
        itertools.combinations(names, count) for count in (1, 2, 3)
    ):
        found = predictor.predict(table, subset)
        assert {name: len(values) for name, values in found.items()} == {
            "embedding": 11,
            "probabilities": 11,
        }
        for row in range(11):
            batch: dict[str, torch.Tensor] = {}
            for name, codec in predictor.codecs.items():
                values, present = codec.collate(table[name].combine_chunks().slice(row, 1))
                batch[name] = torch.tensor(values)
                batch[f"{name}_present"] = torch.tensor(present & (name in subset))
            expected = network.predict(batch)
            for name, values in expected.items():
                np.testing.assert_allclose(found[name][row], values[0], atol=1e-5)
    whole = predictor.predict(table)
    np.testing.assert_array_equal(whole["embedding"], found["embedding"])


def test_bfloat16_of_a_bundle_is_near_float32(wanted: ModelSpec) -> None:
    table = decoded(wanted)
    exact, rough = (
        load_predictor(spec(wanted.model, modalities=wanted.modalities, precision=each))(table)
        for each in ("float32", "bfloat16")
    )
    assert rough.schema == exact.schema
    left, right = matrix(exact), matrix(rough)
    assert not np.array_equal(left, right)
    cosine = (left * right).sum(1) / np.linalg.norm(left, axis=1) / np.linalg.norm(right, axis=1)
    assert cosine.min() > 0.999
    np.testing.assert_allclose(
        matrix(exact, "probabilities"), matrix(rough, "probabilities"), atol=0.02
    )


def small_config(folder: Path, modalities: dict[str, object]) -> Path:
    """Of a model of one small modality, since compilers take their time."""
    tree = {
        "run": "run",
        "modalities": modalities,
        "objective": {"label": "cls", "width": 32, "fusion": {"kind": "concat"}},
    }
    path = folder / "job.yaml"
    path.write_text(json.dumps(tree), encoding="utf-8")
    return path


@pytest.fixture
def compiled_names(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Networks that were compiled, by the front end of the compiler alone: its C++ takes a minute for some."""
    real, names = torch.compile, list[str]()

    def compile_in_python(model: torch.nn.Module, **options: object) -> object:
        names.append(type(model).__name__)
        return real(model, **{**options, "backend": "eager"})

    monkeypatch.setattr(torch, "compile", compile_in_python)
    return names


@pytest.mark.parametrize(
    "by",
    [
        "its front end",
        pytest.param("its C++", marks=[pytest.mark.slow, needs_compiler]),
    ],
)
def test_a_compiled_bundle_predicts_the_same(
    tmp_path: Path, by: str, request: pytest.FixtureRequest
) -> None:
    if by == "its front end":
        compiled_names: list[str] = request.getfixturevalue("compiled_names")
    samples = [sample(f"k{n}", n, csv=b"%d, 1, 2.5" % n) for n in range(11)]
    modalities = {"vector": {"fields": ["csv"], "shape": [3]}}
    seal(small_config(tmp_path, modalities), tmp_path / "model", CLASSES, [])
    plain, compiled = (
        embed(spec(str(tmp_path / "model"), modalities=modalities, compile=each), samples)
        for each in (False, True)
    )
    assert compiled.schema == plain.schema
    for name in ("embedding", "probabilities"):
        np.testing.assert_allclose(matrix(compiled, name), matrix(plain, name), atol=1e-4)
    if by == "its front end":
        assert len(compiled_names) > 0


def test_a_compiled_encoder_embeds_the_same(tmp_path: Path, compiled_names: list[str]) -> None:
    weights = tmp_path / "vit.safetensors"
    save_file(timm.create_model("test_vit", pretrained=False).state_dict(), weights)
    samples = [sample(f"k{number}", number, png=png(number)) for number in range(11)]
    plain, compiled = (
        matrix(embed(spec("timm:test_vit", weights, compile=each), samples))
        for each in (False, True)
    )
    np.testing.assert_allclose(compiled, plain, atol=1e-4)
    assert len(compiled_names) == 1


def test_without_a_compiler_one_line_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch._inductor import config

    monkeypatch.setattr(config.cpp, "cxx", ("no-such-compiler",))
    monkeypatch.setattr(config, "force_disable_caches", True)
    torch._dynamo.reset()  # forgets what was compiled in this process
    modalities = {"vector": {"fields": ["csv"], "shape": [3]}}
    seal(small_config(tmp_path, modalities), tmp_path / "model", CLASSES, [])
    model = spec(str(tmp_path / "model"), modalities=modalities, compile=True)
    with pytest.raises(ModelError, match="cannot be compiled") as caught:
        load_predictor(model)(decode(model, [sample("k", 0, csv=b"1, 2, 3")]))
    assert "\n" not in str(caught.value)
    assert "infer.compile=false" in str(caught.value)
