"""Image networks of torchvision and timm: what they embed, held against the libraries' own forward."""

import io
import re
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import torchvision
from PIL import Image
from safetensors.torch import save_file
from support.encoders import decode, embed, matrix, png, sample, spec
from timm.data import create_transform, resolve_model_data_config
from torchvision.models import get_model_weights

from pipeline.errors import ConfigError, ModelError
from pipeline.prediction.predictor import load_predictor
from pipeline.prediction.spec import open_model

SAMPLES = [sample(f"k{i}", i, png=png(i)) for i in range(11)]
# The smallest network of torchvision; the name of its weights says how images are made ready.
SMALL, SMALL_WEIGHTS = "torchvision:shufflenet_v2_x0_5", "shufflenetv2_x0.5-f707e7126e.pth"


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of small networks, random, as their libraries write them."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    network = torchvision.models.shufflenet_v2_x0_5(weights=None)
    for module in network.modules():  # the statistics of a batch, so that images are told apart
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        network.train()(torch.randn(8, 3, 8, 8).repeat_interleave(28, 2).repeat_interleave(28, 3))
    torch.save(network.state_dict(), folder / SMALL_WEIGHTS)
    torch.save({"state_dict": network.state_dict()}, folder / "wrapped.pth")
    resnet = torchvision.models.resnet18(weights=None)
    for module in resnet.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    torch.save(resnet.state_dict(), folder / "resnet18.pth")
    vit = timm.create_model("test_vit", pretrained=False)
    save_file(vit.state_dict(), folder / "vit.safetensors")
    return folder


def scaled(images: np.ndarray, mean: tuple[float, ...], std: tuple[float, ...]) -> torch.Tensor:
    pixels = torch.tensor(images).permute(0, 3, 1, 2).double() / 255
    mean, std = torch.tensor(mean).double(), torch.tensor(std).double()
    return ((pixels - mean[:, None, None]) / std[:, None, None]).float()


def pixels_of(wanted) -> np.ndarray:
    table = decode(wanted, SAMPLES)
    column = table["image"].combine_chunks()
    side = int((column.type.list_size / 3) ** 0.5)
    return column.flatten().to_numpy().reshape(-1, side, side, 3)


def psnr(left: np.ndarray, right: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((left.astype(float) - right) ** 2)))


def test_torchvision_gives_what_the_last_layer_is_given(saved: Path) -> None:
    wanted = spec(SMALL, saved / SMALL_WEIGHTS)
    network = torchvision.models.shufflenet_v2_x0_5(weights=None).eval()
    network.load_state_dict(torch.load(saved / SMALL_WEIGHTS, weights_only=True))
    preset = get_model_weights("shufflenet_v2_x0_5").IMAGENET1K_V1.transforms()
    images = pixels_of(wanted)
    given = []
    network.fc.register_forward_hook(lambda _module, inputs, _out: given.append(inputs[0]))
    with torch.inference_mode():
        network(scaled(images, preset.mean, preset.std))
    found = matrix(embed(wanted, SAMPLES))
    assert found.shape == (11, 1024)
    np.testing.assert_allclose(found, given[0].numpy(), atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("shape", [(300, 400), (640, 300), (224, 224), (91, 70)])
def test_pixels_are_those_of_torchvision(saved: Path, shape: tuple[int, int]) -> None:
    """The library's transform is that of the weights' file name: the second weights are resized to 232."""
    weights = get_model_weights("regnet_y_400mf")
    path = saved / weights.IMAGENET1K_V2.url.rpartition("/")[2]
    torch.save(torchvision.models.regnet_y_400mf(weights=None).state_dict(), path)
    preset = weights.IMAGENET1K_V2.transforms()
    assert preset.resize_size == [232]
    image = png(5, *shape)
    table = decode(spec("torchvision:regnet_y_400mf", path), [sample("a", png=image)])
    ours = table["image"].combine_chunks().flatten().to_numpy().reshape(224, 224, 3)
    mean, std = (torch.tensor(each)[:, None, None] for each in (preset.mean, preset.std))
    theirs = preset(Image.open(io.BytesIO(image))) * std + mean
    theirs = (theirs * 255).permute(1, 2, 0).numpy()
    assert psnr(ours, theirs) > 45
    other = np.roll(theirs, 1, axis=1)  # what a crop one pixel aside would be
    assert psnr(ours, other) < psnr(ours, theirs) - 6


def test_timm_gives_its_own_embedding_and_preprocessing(saved: Path) -> None:
    wanted = spec("timm:test_vit.r160_in1k", saved / "vit.safetensors")
    network = timm.create_model("test_vit.r160_in1k", pretrained=False, num_classes=0).eval()
    state = timm.models.load_state_dict(str(saved / "vit.safetensors"))
    network.load_state_dict({name: each for name, each in state.items() if "head" not in name})
    config = resolve_model_data_config(network)
    images = pixels_of(wanted)
    with torch.inference_mode():
        theirs = network(scaled(images, config["mean"], config["std"]))
    found = matrix(embed(wanted, SAMPLES))
    np.testing.assert_allclose(found, theirs.numpy(), atol=2e-5, rtol=1e-4)
    transform = create_transform(**config, is_training=False, normalize=False)
    image = Image.open(io.BytesIO(SAMPLES[0].fields["png"].data.tobytes()))
    plain = np.asarray(transform(image)).transpose(1, 2, 0)
    plain = plain * 255 if plain.max() <= 1 else plain
    assert psnr(images[0], plain) > 45


def test_timm_reads_a_folder_with_its_config(saved: Path, tmp_path: Path) -> None:
    network = timm.create_model("test_vit", pretrained=False)
    save_file(network.state_dict(), tmp_path / "model.safetensors")
    told = '{"architecture": "test_vit", "pretrained_cfg": {"mean": [0, 0, 0], "crop_pct": 0.5}}'
    (tmp_path / "config.json").write_text(told)
    encoder = open_model(spec("timm:test_vit", tmp_path)).description
    assert encoder.inputs["image"].mean == (0, 0, 0)
    assert encoder.inputs["image"].resize == 2 * encoder.inputs["image"].size
    with pytest.raises(ModelError, match="the weights are of test_vit"):
        open_model(spec("timm:test_resnet", tmp_path))


def test_timm_converts_weights_of_other_formats(tmp_path: Path) -> None:
    """A ConvNeXt in the layout of its authors, which timm turns into its own."""
    network = timm.create_model("test_convnext", pretrained=False)
    state = network.state_dict()
    save_file(state, tmp_path / "own.safetensors")
    theirs = {}
    for name, each in state.items():
        name = re.sub(r"stages\.(\d+)\.downsample\.", r"downsample_layers.\1.", name)
        name = name.replace("stem.", "downsample_layers.0.").replace(".blocks.", ".")
        name = name.replace("conv_dw", "dwconv").replace("mlp.fc", "pwconv")
        theirs[name.replace("head.norm.", "norm.").replace("head.fc.", "head.")] = each
    assert not set(theirs) <= set(state)
    torch.save({"model": theirs}, tmp_path / "theirs.pth")
    rows = [
        matrix(embed(spec("timm:test_convnext", tmp_path / name), SAMPLES[:3]))
        for name in ("own.safetensors", "theirs.pth")
    ]
    np.testing.assert_array_equal(*rows)


def test_wrapped_weights_are_the_same_weights(saved: Path) -> None:
    rows = [
        matrix(embed(spec(SMALL, saved / name), SAMPLES[:3]))
        for name in (SMALL_WEIGHTS, "wrapped.pth")
    ]
    np.testing.assert_array_equal(*rows)


def test_rows_do_not_depend_on_how_parts_meet_actors(saved: Path) -> None:
    """One actor, or several, each with the parts that come to it: a part's rows are the same bytes."""
    wanted = spec(SMALL, saved / SMALL_WEIGHTS)
    decoded = decode(wanted, SAMPLES)
    parts = [decoded.slice(start, 3) for start in range(0, 11, 3)]
    alone = load_predictor(wanted)
    expected = [alone(part) for part in parts]
    for num_actors in (2, 4):
        actors = [load_predictor(wanted) for _ in range(num_actors)]
        found = [actors[-1 - index % num_actors](part) for index, part in enumerate(parts)]
        assert found == expected


def test_micro_batches_are_padded_to_one_shape(saved: Path, monkeypatch) -> None:
    """As on a GPU: every micro-batch has the whole size, and the padding is not seen in the rows."""
    wanted = spec("torchvision:resnet18", saved / "resnet18.pth", batch_size=4)
    predictor = load_predictor(wanted)
    decoded = decode(wanted, SAMPLES)
    expected = matrix(predictor(decoded))
    predictor.multiple = predictor.batch_size
    seen = []
    predictor.towers["image"].register_forward_pre_hook(lambda _, args: seen.append(args[0].shape))
    found = matrix(predictor(decoded))
    assert [shape.numel() / shape[1:].numel() for shape in seen] == [4, 4, 4]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_bfloat16_is_near_float32(saved: Path) -> None:
    weights = saved / "resnet18.pth"
    exact, rough = (
        matrix(embed(spec("torchvision:resnet18", weights, precision=each), SAMPLES[:3]))
        for each in ("float32", "bfloat16")
    )
    assert not np.array_equal(exact, rough)
    cosine = (exact * rough).sum(1) / np.linalg.norm(exact, axis=1) / np.linalg.norm(rough, axis=1)
    assert cosine.min() > 0.999


def test_float16_columns(saved: Path) -> None:
    wanted = spec(SMALL, saved / SMALL_WEIGHTS, float16=True)
    table = embed(wanted, SAMPLES[:2])
    assert str(table["embedding"].type) == "fixed_size_list<item: halffloat>[1024]"
    assert open_model(wanted).fields == [table.schema.field("embedding")]


def test_samples_without_an_image(saved: Path) -> None:
    samples = [
        *SAMPLES[:2],
        sample("text", 2, txt=b"no image, and nothing wrong"),
        sample("bad", 3, png=b"no image"),
        sample("none", 4, cls=b"3"),
    ]
    table = embed(spec(SMALL, saved / "wrapped.pth"), samples)
    reasons = [error and error["reason"] for error in table["error"].to_pylist()]
    assert reasons == [None, None, "filtered_modality", "bad_image", "no_modality"]
    assert table["embedding"].is_null().to_pylist() == [False, False, True, True, True]
    assert table.column_names[-1] == "embedding"
    assert "image" not in table.column_names


def test_the_fingerprint_is_that_of_content(saved: Path, tmp_path: Path) -> None:
    state = torch.load(saved / "wrapped.pth", weights_only=True)["state_dict"]
    moved, changed = tmp_path / "moved.pth", tmp_path / "changed.pth"
    moved.write_bytes((saved / "wrapped.pth").read_bytes())
    state["conv1.0.weight"][0, 0, 0, 0] += 1
    torch.save(state, changed)
    first, second, third = (
        open_model(spec(SMALL, path)).fingerprint
        for path in (saved / "wrapped.pth", moved, changed)
    )
    assert first == second != third
    known = open_model(spec(SMALL, moved)).description
    moved.write_bytes(changed.read_bytes())
    with pytest.raises(ModelError, match="others than when the job began"):
        load_predictor(spec(SMALL, moved, description=known))


@pytest.mark.parametrize(
    ("model", "file", "error", "words"),
    [
        ("torchvision:resnet18", None, ConfigError, "infer.weights"),
        (
            "torchvision:resnet18",
            "nowhere.pth",
            ModelError,
            r"no weights.* infer\.weights=\S*nowhere",
        ),
        ("torchvision:resnet19", "wrapped.pth", ConfigError, "did you mean resnet18"),
        ("torchvision:resnet18", "wrapped.pth", ModelError, "do not fit"),
        ("torchvision:squeezenet1_0", "wrapped.pth", ConfigError, "no linear layer"),
        ("torchvision:", "wrapped.pth", ConfigError, "names no model"),
        ("torchvison:resnet18", "wrapped.pth", ConfigError, "did you mean torchvision:"),
        ("timm:test_vt", "vit.safetensors", ConfigError, "did you mean test_vit"),
        ("timm:hf-hub:timm/test_vit", "vit.safetensors", ConfigError, "timm has no model"),
        ("timm:test_resnet", "vit.safetensors", ModelError, "do not fit"),
        ("hf:nowhere", None, ModelError, r"no weights.* infer\.model=hf:nowhere"),
        ("hf:.", "vit.safetensors", ConfigError, "infer.weights"),
    ],
)
def test_errors_say_what_to_do(
    saved: Path, model: str, file: str | None, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words) as caught:
        load_predictor(spec(model, saved / file if file else None))
    assert "\n" not in str(caught.value)
    assert str(caught.value).count(" | ") == 2


def test_weights_beside_a_bundle_are_refused(saved: Path) -> None:
    with pytest.raises(ConfigError, match="a bundle has its weights") as caught:
        open_model(spec("runs/model", saved / "vit.safetensors"))
    assert "leave infer.weights out" in str(caught.value)
    assert str(caught.value).count(" | ") == 2


def test_weights_that_do_not_fit_are_found_before_they_are_loaded(saved: Path) -> None:
    with pytest.raises(
        ModelError, match="do not fit the network: .* differ, the first is layer1.2"
    ):
        open_model(spec("torchvision:resnet34", saved / "resnet18.pth"))


def test_weights_that_carry_code_are_not_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"conv1.weight": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(ModelError, match="cannot be read"):
        load_predictor(spec(SMALL, tmp_path / "evil.pth"))
    assert not (tmp_path / "ran").exists()


def test_a_configuration_without_its_modality_is_refused(saved: Path) -> None:
    wanted = spec(SMALL, saved / "wrapped.pth", modalities={"text": {}})
    with pytest.raises(ConfigError, match="takes image, and the configuration has text"):
        open_model(wanted)


def test_two_images_of_a_sample_go_through_one_network(saved: Path) -> None:
    """Each by the name that the configuration gives it, in the space that they share."""
    both = [sample(f"k{i}", i, **{"left.png": png(i), "right.png": png(i + 50)}) for i in range(3)]
    names = {name: {"kind": "image", "fields": [f"{name}.png"]} for name in ("left", "right")}
    weights = saved / SMALL_WEIGHTS
    embedded = embed(spec(SMALL, weights, modalities=names), both)
    alone = [sample(f"k{i}", i, png=png(i)) for i in range(3)]
    plain = matrix(embed(spec(SMALL, weights), alone))
    plain /= np.linalg.norm(plain, axis=1, keepdims=True)
    np.testing.assert_allclose(matrix(embedded, "left_embedding"), plain, atol=1e-5)
    assert not np.allclose(matrix(embedded, "right_embedding"), plain, atol=1e-3)
    assert open_model(spec(SMALL, weights, modalities=names)).description is not None
