"""One thing at a time, from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.encoders import in_this_process
from support.generators import save_bart
from support.tones import png, wav

from jobs import generate
from pipeline.config import load

PAINTER = """
import io

import pyarrow as pa
from PIL import Image


class Painter:
    def inputs(self):
        return {"image": None}

    def columns(self):
        picture, sound = pa.binary(), pa.binary()
        numbers = {"brightness": pa.float32(), "embedding": pa.list_(pa.float32(), 2)}
        return {"generated_image": picture, "generated_mask": sound, **numbers}

    def load(self, device, weights):
        pass

    def predict(self, batch):
        pictures = []
        for values in batch["image"].cpu().numpy():
            data = io.BytesIO()
            Image.fromarray(255 - values).save(data, "PNG")
            pictures.append(data.getvalue())
        masks = [None if values.float().mean() > 200 else b"mask" for values in batch["image"]]
        shades = batch["image"].float().mean((1, 2, 3)).tolist()
        numbers = {"brightness": shades, "embedding": [[0.0, 1.0]] * len(shades)}
        return {"generated_image": pictures, "generated_mask": masks, **numbers}
"""


@pytest.fixture(scope="module")
def bart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_bart(tmp_path_factory.mktemp("bart"))


@pytest.fixture
def painter(tmp_path: Path) -> Path:
    (tmp_path / "painter.py").write_text(PAINTER)
    path = tmp_path / "paint.yaml"
    path.write_text(
        "run: run\nmodalities: {image: {size: 8}}\ninfer: {model: 'python:painter:Painter'}\n"
    )
    (tmp_path / "dark.png").write_bytes(png((10, 10, 10)))
    (tmp_path / "light.png").write_bytes(png((250, 250, 250)))
    return path


def refused(capsys: pytest.CaptureFixture[str], *words: object, says: str) -> None:
    capsys.readouterr()
    assert generate.main([str(word) for word in words]) == 2
    streams = capsys.readouterr()
    assert streams.out == ""
    assert says in streams.err


def test_a_text_is_what_infer_writes(
    tone_config: Path, bart: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = (f"infer.model=hf:{bart}", "infer.settings.max_new_tokens=6")
    config = load(tone_config, options)
    assert isinstance(config.input.test, str)
    expected = in_this_process(config, config.input.test)
    sample = next(row for row in expected.values() if row["generated_text"])
    capsys.readouterr()
    text = "a low tone"
    assert generate.main([str(tone_config), *options, "--text", text, "--json"]) == 0
    first = json.loads(capsys.readouterr().out)["report"]
    assert set(first) == {"generated_text", "generated_tokens"}
    assert isinstance(sample["generated_text"], str)
    assert generate.main([str(tone_config), *options, "--text", text]) == 0
    assert f"generated_text: {first['generated_text']}" in capsys.readouterr().out
    out = tmp_path / "text.txt"
    words = ("--text", text, "--out", str(out), "--column", "generated_text")
    assert generate.main([str(tone_config), *options, *words]) == 0
    assert out.read_text().strip() == first["generated_text"].strip()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["text.txt", "tones.yaml"]


def test_a_picture_is_written_once_and_where_it_is_asked(
    painter: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    light, dark, out = (painter.parent / name for name in ("light.png", "dark.png", "out.png"))
    refused(capsys, painter, "--image", light, says="say where it is written with --out FILE")
    assert generate.main([str(painter), "--image", str(light), "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert printed.splitlines() == ["brightness: 250.0", f"written to {out}"]
    content = out.read_bytes()
    assert content.startswith(b"\x89PNG")
    refused(capsys, painter, "--image", dark, "--out", out, says="there is such a file already")
    assert out.read_bytes() == content

    mask = painter.parent / "mask"
    both = (painter, "--image", dark, "--out", mask)
    refused(capsys, *both, says="say which is written with --column NAME")
    assert not mask.exists()
    refused(capsys, *both, "--column", "caption", says="the model made no caption")
    assert generate.main([*map(str, both), "--column", "generated_mask"]) == 0
    assert mask.read_bytes() == b"mask"


def test_what_cannot_be_asked(
    painter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sound, broken = tmp_path / "x.wav", tmp_path / "x.png"
    sound.write_bytes(wav())
    broken.write_bytes(png()[:60])
    refused(capsys, painter, says="nothing is given | command line | give --image")
    refused(capsys, painter, "--image", "", says="--image is empty")
    refused(capsys, painter, "--image", tmp_path / "none.png", says="there is no such file")
    refused(capsys, painter, "--image", broken, says="it would be quarantined (bad_image")
    refused(capsys, painter, "--audio", sound, says="the model takes no audio")
    refused(capsys, painter, "--give", "image", says="write --give NAME=VALUE")
    refused(capsys, painter, "infer.model=gone", "--image", broken, says="gone")


def test_dry_runs_ask_nothing(painter: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--image", "light.png", "--dry-run")
    assert generate.main([str(painter), *words]) == 0
    assert "about image, for embedding, generated_image, generated_mask" in capsys.readouterr().out
