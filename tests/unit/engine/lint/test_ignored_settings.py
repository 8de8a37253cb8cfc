"""Lint holds nothing against settings that have no effect, since a network from elsewhere decides in their place."""

import io
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.tones import make_samples, write_tar

from pipeline.config import validate
from pipeline.engine.lint.page import build
from pipeline.engine.lint.plan import lint, stretches
from pipeline.runs import Summary

# None of them is there, and none is asked for its files.
OF_IMAGES = {"kind": "pretrained", "name": "timm:test_vit"}
OF_SOUNDS = {"kind": "pretrained", "name": "hf:clap"}


def gif() -> bytes:
    data = io.BytesIO()
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue", "green")]
    frames[0].save(data, "GIF", save_all=True, append_images=frames[1:])
    return data.getvalue()


@pytest.fixture(scope="module")
def shard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of 20 pixels, sounds of 0.3 seconds and one of 8 pixels that move."""
    samples = make_samples(6, seed=1)
    samples["s0000"]["gif"] = gif()
    return write_tar(tmp_path_factory.mktemp("shards") / "a.tar", samples)


def remarks(shard: Path, modalities: dict[str, Any], run: Path) -> list[str]:
    config = validate(
        {
            "run": str(run),
            "input": {"train": str(shard)},
            "modalities": modalities,
            "lint": {"estimate_samples": 0},
        }
    )
    report = build(config, lint(config, stretches(config), str(run), Summary("lint"))).to_json()
    problems = report["problems"]
    assert isinstance(problems, list)
    return [problem["what"] for problem in problems if problem["level"] == "note"]


@pytest.mark.parametrize(
    ("modality", "settings", "encoder", "remark"),
    [
        ("image", {"fields": ["png"], "size": 64}, OF_IMAGES, "smaller than size (64)"),
        ("audio", {"fields": ["wav"], "max_seconds": 0.1}, OF_SOUNDS, "cut to max_seconds (0.1)"),
        (
            "video",
            {"fields": ["gif"], "size": 512},
            {"kind": "mean", "frame": OF_IMAGES},
            "smaller than size (512)",
        ),
    ],
)
def test_a_setting_is_remarked_on_where_it_has_an_effect(
    shard: Path,
    tmp_path: Path,
    modality: str,
    settings: dict[str, Any],
    encoder: dict[str, Any],
    remark: str,
) -> None:
    said = remarks(shard, {modality: settings}, tmp_path / "own")
    assert any(remark in what for what in said), said
    said = remarks(shard, {modality: {**settings, "encoder": encoder}}, tmp_path / "other")
    assert not any(remark in what for what in said), said
