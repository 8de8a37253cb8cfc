"""Which texts RUN/tokenizer.json is trained from, and when."""

from pathlib import Path

import pytest
from support.tones import write_tar

from pipeline.config import Config, validate
from pipeline.engine.plans.prepare import TOKENIZER_TEXTS, ensure_tokenizer
from pipeline.errors import ConfigError
from pipeline.modalities.text import TextConfig
from pipeline.modalities.text.codec import read_training_text, train_tokenizer

VOCABULARY = 290
TRAINING, OTHERS = "zq", "wv"  # pairs of letters that are the most frequent of their texts


def text_of(number: int, pair: str) -> bytes:
    return f"{pair * 3} {number}".encode()


def config(folder: Path, **inputs: str) -> Config:
    return validate(
        {
            "run": str(folder / "run"),
            "input": {name: str(folder / pattern) for name, pattern in inputs.items()},
            "modalities": {"text": {"fields": ["txt", "md"], "vocab_size": VOCABULARY}},
        }
    )


def trained_on(texts: list[bytes]) -> str:
    settings = config(Path("x")).modalities.root["text"]
    assert isinstance(settings, TextConfig)
    cleaned = [read_training_text(memoryview(text), "txt", settings) for text in texts]
    return train_tokenizer(cleaned, VOCABULARY)


def test_surface_says_ten_thousand() -> None:
    assert TOKENIZER_TEXTS == 10_000


def test_the_first_ten_thousand_training_texts_and_no_others(tmp_path: Path) -> None:
    """In the order of the shards; samples without a text, or with one that cannot be read, count for nothing."""
    texts = [text_of(number, TRAINING) for number in range(TOKENIZER_TEXTS // 2)]
    texts += [text_of(number, "kj" * 3) for number in range(TOKENIZER_TEXTS // 2)]
    behind = [text_of(number, OTHERS * 40) for number in range(300)]
    members: list[dict[str, bytes]] = [{"txt": text} for text in [*texts, *behind]]
    members[7:7] = [{"txt": b"\xff\xfe"}, {"jpg": b"x"}, {"txt": b"a" * (1 << 20) + b"a"}]
    members[500] = {"md": members[500]["txt"]}
    half = 4000
    for name, some in (("train-0", members[:half]), ("train-1", members[half:])):
        samples = {f"{name}-{number:05}": fields for number, fields in enumerate(some)}
        write_tar(tmp_path / f"{name}.tar", samples)
    own = [{"txt": text_of(number, OTHERS)} for number in range(60)]
    write_tar(tmp_path / "own.tar", {f"o{number}": fields for number, fields in enumerate(own)})
    made = ensure_tokenizer(config(tmp_path, train="train-*.tar", test="own.tar"), "test")
    assert made == trained_on(texts)
    # The texts are such that any other choice of them gives another tokenizer.
    for others in (texts[:-1000], texts[:50], [*texts, *behind], [each["txt"] for each in own]):
        assert trained_on(others) != made
    assert (tmp_path / "run" / "tokenizer.json").read_text() == made


def test_what_a_run_has_is_used_again(tmp_path: Path) -> None:
    write_tar(tmp_path / "train.tar", {"a": {"txt": text_of(1, TRAINING)}})
    (tmp_path / "run").mkdir()
    kept = trained_on([text_of(2, OTHERS)])
    (tmp_path / "run" / "tokenizer.json").write_text(kept)
    assert ensure_tokenizer(config(tmp_path, train="train.tar"), "train") == kept


def test_without_training_texts_the_jobs_own_input_serves(tmp_path: Path) -> None:
    write_tar(tmp_path / "own.tar", {"a": {"txt": text_of(1, OTHERS)}})
    settings = config(tmp_path, test="own.tar")
    made = ensure_tokenizer(settings, "test")
    assert made == trained_on([text_of(1, OTHERS)])
    with pytest.raises(ConfigError, match=r"input\.train"):
        ensure_tokenizer(config(tmp_path / "other"), "train")


def test_without_texts_there_is_none(tmp_path: Path) -> None:
    tree = config(tmp_path).model_dump(exclude_none=True) | {"modalities": {"image": {}}}
    assert ensure_tokenizer(validate(tree), "train") is None
    assert not (tmp_path / "run").exists()
