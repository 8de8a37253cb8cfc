"""Whatever is wrong with an encoder's weights, none are fetched: it is an error that names the file."""

import json
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from pipeline.errors import PipelineError
from pipeline.modalities import pretrained

MODELS = [
    "torchvision:shufflenet_v2_x0_5",
    "timm:resnet18.a1_in1k",
    "timm:vit_tiny_patch16_224",
    "open_clip:ViT-B-32/openai",
]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The addresses that anything here has tried to reach; none is reached."""
    addresses = list[object]()

    def refuse(connection: socket.socket, address: object) -> None:
        addresses.append(address)
        raise OSError(f"nothing is reached from here: {address}")

    def look_up(host: object, *_: object, **__: object) -> None:
        addresses.append(host)
        raise socket.gaierror(f"nothing is looked up from here: {host}")

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)  # nobody has to forbid it
    return addresses


def missing(folder: Path) -> Path:
    return folder / "gone.pth"


def empty_file(folder: Path) -> Path:
    return written(folder / "w.pth", b"")


def empty_folder(folder: Path) -> Path:
    (folder / "weights").mkdir()
    return folder / "weights"


def text(folder: Path) -> Path:
    return written(folder / "w.safetensors", b"no weights at all")


def no_pickle(folder: Path) -> Path:
    return written(folder / "w.bin", b"\x80\x04no weights")


def no_tensors(folder: Path) -> Path:
    torch.save({}, folder / "w.pth")
    return folder / "w.pth"


def no_tensors_in_a_wrapper(folder: Path) -> Path:
    torch.save({"state_dict": {}}, folder / "w.pt")
    return folder / "w.pt"


def no_tensors_safely(folder: Path) -> Path:
    save_file({}, folder / "w.safetensors")
    return folder / "w.safetensors"


def of_another_network(folder: Path) -> Path:
    save_file({"a.weight": torch.zeros(3)}, folder / "w.safetensors")
    return folder / "w.safetensors"


def no_state(folder: Path) -> Path:
    torch.save([1, 2], folder / "w.pth")
    return folder / "w.pth"


def cut(folder: Path) -> Path:
    torch.save({"a.weight": torch.zeros(3000)}, folder / "w.pth")
    return written(folder / "w.pth", (folder / "w.pth").read_bytes()[:700])


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


WEIGHTS = [
    missing, empty_file, empty_folder, text, no_pickle, no_tensors, no_tensors_in_a_wrapper, no_tensors_safely,
    of_another_network, no_state, cut,
]  # fmt: skip


def refused(model: str, weights: str | None) -> str:
    with pytest.raises(PipelineError) as raised:
        pretrained.load(pretrained.describe(model, weights))
    assert raised.value.exit_code == 2
    assert raised.value.fix
    return str(raised.value)


@pytest.mark.parametrize("model", MODELS)
def test_no_weights_are_fetched(asked: list[object], tmp_path: Path, model: str) -> None:
    for number, make in enumerate(WEIGHTS):
        folder = tmp_path / str(number)
        folder.mkdir()
        words = refused(model, str(make(folder)))
        assert str(folder) in words, make.__name__
        assert asked == [], make.__name__
    refused(model, None)
    refused(model, "https://host/weights.pth")
    assert asked == []


def folder_without(file: str) -> Callable[[Path], None]:
    def fill(folder: Path) -> None:
        if file != "config":
            (folder / "config.json").write_text(json.dumps({"model_type": "bert"}))
        if file != "weights":
            save_file({"a.weight": torch.zeros(3)}, folder / "model.safetensors")
        if file == "content":
            (folder / "model.safetensors").write_bytes(b"")

    return fill


@pytest.mark.parametrize("what", ["config", "weights", "content", "tokenizer"])
def test_a_folder_of_transformers_is_not_completed(
    asked: list[object], tmp_path: Path, what: str
) -> None:
    folder_without(what)(tmp_path)
    assert str(tmp_path) in refused(f"hf:{tmp_path}", None)
    assert asked == []


def test_a_name_of_the_hub_is_no_folder(asked: list[object], tmp_path: Path) -> None:
    for name in ("openai/clip-vit-base-patch32", str(tmp_path / "gone")):
        assert name in refused(f"hf:{name}", None)
    assert asked == []
