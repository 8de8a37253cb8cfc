"""The report shows samples of an evaluation from where it found them, or says what it looked for, and where."""

import io
from pathlib import Path

import pytest
from PIL import Image
from support.tones import make_samples, png, write_tar

from pipeline.config import Config, validate
from pipeline.engine.plans.evaluate import judged_as
from pipeline.engine.plans.examples import JudgedExamples, judged_examples
from pipeline.metrics.record import EvaluationRecord
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.reports.content import Example, ReportData
from pipeline.reports.page import render
from pipeline.reports.section import Judgement

COLOURS = {"test": (200, 30, 30), "elsewhere": (30, 30, 200)}
CHOSEN = [Judgement("a.tar", "s0002", "low", "high", right=False, score=0.9)]


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """Shards of one name in two folders, whose samples have the same keys and other pictures."""
    for folder, colour in COLOURS.items():
        samples = make_samples(4, seed=1)
        for fields in samples.values():
            fields["png"] = png(colour)
        write_tar(tmp_path / folder / "a.tar", samples)
    tree = {
        "run": str(tmp_path / "run"),
        "input": {"test": f"{tmp_path}/test/*.tar"},
        "modalities": {"image": {"fields": ["png"]}},
    }
    return validate(tree)


def colour_of(example: Example) -> object:
    content = example.shown["image"].content
    assert isinstance(content, bytes)
    return Image.open(io.BytesIO(content)).convert("RGB").getpixel((2, 2))


def judged(
    config: Config, *patterns: str, chosen: list[Judgement] = CHOSEN, split: str = "test"
) -> JudgedExamples:
    decoder = Decoder.build(config.modalities.for_showing(), None)
    return judged_examples(config, decoder, EvaluationRecord(split, patterns or None), chosen)


def test_from_where_it_was_evaluated_whatever_the_configuration_names(
    config: Config, tmp_path: Path
) -> None:
    [example] = judged(config, f"{tmp_path}/elsewhere/*.tar", split="other").examples
    assert (example.shard, example.key, example.split) == ("a.tar", "s0002", "other")
    assert (example.label, example.prediction, example.right) == ("low", "high", False)
    assert colour_of(example) == COLOURS["elsewhere"]


@pytest.mark.parametrize("patterns", [(), ("gone/*.tar",)])
def test_from_the_configuration_where_the_evaluation_does_not_say_or_is_moved(
    config: Config, patterns: tuple[str, ...]
) -> None:
    [example] = judged(config, *patterns).examples
    assert colour_of(example) == COLOURS["test"]


def test_what_is_nowhere_is_said_with_every_place_and_the_setting(
    config: Config, tmp_path: Path
) -> None:
    moved = [Judgement("b.tar", "s0002", "low", "high")]
    found = judged(config, f"{tmp_path}/elsewhere/*.tar", "gone.tar", chosen=moved, split="x")
    assert not found.examples
    for words in (
        "b.tar",
        f"{tmp_path}/elsewhere/*.tar, gone.tar",
        "evaluate.input=test",
        "Set evaluate.input to",
    ):
        assert words in found.missing  # fmt: skip
    page = render(ReportData("t", "now", not_shown=found.missing))
    assert "b.tar" in page
    assert "No predictions to look at" not in page


def test_none_that_are_asked_for_and_none_that_are_left_are_said(config: Config) -> None:
    assert "report.num_examples" in judged(config, chosen=[]).missing
    left = judged(config, chosen=[Judgement("a.tar", "gone", "low", "high")])
    assert not left.examples
    assert "None of the 1 samples" in left.missing


def test_what_is_kept_of_a_signed_url_opens_nothing(config: Config) -> None:
    url = "https://store/a.tar?X-Amz-Signature=0123456789"
    section = config.evaluate.model_copy(update={"input": url})
    split, [pattern] = judged_as(config.model_copy(update={"evaluate": section}))
    assert split == pattern == "https://store/a.tar?X-Amz-Signature=***"
    assert judged_as(config) == ("test", (config.input.test,))
