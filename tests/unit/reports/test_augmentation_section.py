"""The report's section on augmentation: what is shown, and that it is what the settings and the seed give."""

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from browser import Browser, find_browser
from page_reader import PageReader, structural_problems
from PIL import Image
from support.tones import make_samples, write_tar

from pipeline.config import Config, validate
from pipeline.engine.plans.augmented import augmented_samples
from pipeline.modalities.audio.show import spectrogram_png
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.modalities.image.show import image_png
from pipeline.modalities.shown import MarkedText, Shown
from pipeline.modalities.text.codec import train_tokenizer
from pipeline.modalities.text.show import marked_text
from pipeline.reports.content import AugmentedSample, AugmentedView, ReportData
from pipeline.reports.page import render
from pipeline.shards.planning.plan import Part, expand, plan

HOSTILE = "</p><script>alert(1)</script>"


def configure(folder: Path, **train: object) -> tuple[Config, Decoder, list[Part]]:
    samples = make_samples(20, seed=0)
    samples["s0000"]["png"] = b"broken"
    write_tar(folder / "x.tar", samples)
    tree = {
        "run": str(folder / "run"),
        "modalities": {
            "image": {"fields": ["png"], "size": 16},
            "text": {"max_tokens": 16, "vocab_size": 300, "augment": {"drop_probability": 0.4}},
            "audio": {"sample_rate_hz": 8000, "max_seconds": 0.3, "num_mels": 20},
        },
        "train": train,
    }
    config = validate(tree)
    decoder = Decoder.build(config.modalities, train_tokenizer(["a high tone"], 300))
    return config, decoder, plan(expand(str(folder / "x.tar")))


PICTURES = ("image", "audio")


def png(data: Shown | MarkedText | bytes) -> np.ndarray:
    content = data.content if isinstance(data, Shown) else data
    assert isinstance(content, bytes)
    return np.asarray(Image.open(io.BytesIO(content)))


def pieces(view: AugmentedView) -> Sequence[tuple[str, bool]]:
    text = view.shown["text"]
    assert isinstance(text, MarkedText)
    return text.pieces


def test_the_settings_and_the_seed_decide_what_is_shown(tmp_path: Path) -> None:
    config, decoder, parts = configure(tmp_path, seed=3)
    shown = augmented_samples(config, decoder, parts)
    assert [sample.key for sample in shown] == ["s0001", "s0002", "s0004"], "the first whole ones"
    for sample in shown:
        assert [view.title for view in sample.views] == [
            "as it is",
            "epoch 1",
            "epoch 2",
            "epoch 3",
        ]
        shapes = [[png(view.shown[name]).shape for view in sample.views] for name in PICTURES]
        assert shapes == [[(16, 16, 3)] * 4, [(20, 31, 3)] * 4]
        texts = ["".join(piece for piece, _ in pieces(view)) for view in sample.views]
        assert texts == [texts[0]] * 4, "dropped tokens are marked, not left out"
        assert all(there for _, there in pieces(sample.views[0]))
    assert any(
        not there for sample in shown for view in sample.views[1:] for _, there in pieces(view)
    )
    assert augmented_samples(config, decoder, parts) == shown
    other, _, _ = configure(tmp_path, seed=4)
    assert augmented_samples(other, decoder, parts) != shown
    off, _, _ = configure(tmp_path, augment=False)
    assert augmented_samples(off, decoder, parts) == []
    assert augmented_samples(config, decoder, []) == []


def test_texts_are_marked_letter_by_letter() -> None:
    tokenizer = train_tokenizer(["tone tone tone low"], 300)
    from tokenizers import Tokenizer

    engine = Tokenizer.from_str(tokenizer)
    ids = engine.encode("tone 音 low", add_special_tokens=False).ids
    whole = [*ids, 0, 0]
    assert marked_text(whole, whole, tokenizer) == [("tone 音 low", True)]
    for place in range(len(ids)):
        dropped = [0 if index == place else value for index, value in enumerate(whole)]
        pieces = marked_text(whole, dropped, tokenizer)
        assert "".join(text for text, _ in pieces) == "tone 音 low"
        assert sum(not there for _, there in pieces) == 1
    assert marked_text([0, 0], [0, 0], tokenizer) == []
    inside_a_letter = [*ids[:-3][:3], 0]
    assert marked_text(inside_a_letter, inside_a_letter, tokenizer)


def test_pictures_show_low_pitch_below_and_loud_in_light() -> None:
    decibels = np.full((4, 6), -80.0)
    decibels[0, 5] = 0.0  # the lowest bin, at the end
    picture = png(spectrogram_png(decibels, -80.0, 0.0)).astype(int).sum(axis=2)
    assert picture.argmax() == np.ravel_multi_index((3, 5), picture.shape)
    assert len(np.unique(picture)) == 2
    large = np.random.default_rng(0).integers(0, 256, (400, 300, 3), dtype=np.uint8)
    assert png(image_png(large)).shape == (144, 108, 3)
    np.testing.assert_array_equal(png(image_png(large[:20, :20])), large[:20, :20])


def sample(text: str = "a tone") -> AugmentedSample:
    image = Shown("picture", image_png(np.zeros((8, 8, 3), np.uint8)))
    sound = Shown("plot", spectrogram_png(np.zeros((8, 20)), -80, 0))
    whole, dropped = MarkedText([(text, True)]), MarkedText([(text, True), (text, False)])
    views = [
        AugmentedView("as it is", {"image": image, "audio": sound, "text": whole}),
        AugmentedView("epoch 1", {"image": image, "text": dropped}),
    ]
    return AugmentedSample(key=text, shard="x.tar", views=views)


def test_the_section_is_there_where_there_is_something_to_show(
    report_data: ReportData, tmp_path: Path
) -> None:
    assert 'id="augmentation"' not in render(report_data)
    page = render(replace(report_data, augmented=[sample()] * 3))
    assert structural_problems(page) == []
    reader = PageReader(page)
    ids = [each["id"] for each in reader.all("section")]
    assert ids.index("augmentation") == ids.index("training") + 1
    assert page.count("<del>a tone</del>") == 3
    assert len(reader.all("img")) == len(PageReader(render(report_data)).all("img")) + 9
    if find_browser() is None:
        return
    path = tmp_path / "page.html"
    path.write_text(page, encoding="utf-8")
    with Browser(tmp_path) as browser:
        browser.open(path, 390)
        assert browser.evaluate("document.documentElement.scrollWidth") <= 390
        broken = "[...document.images].filter(i => !i.complete || !i.naturalWidth).length"
        assert browser.evaluate(broken) == 0


def test_texts_and_keys_are_escaped(report_data: ReportData) -> None:
    page = render(replace(report_data, augmented=[sample(HOSTILE)]))
    assert "<script" not in page
    assert structural_problems(page) == []
