"""Texts one by one and a part at a time; the short way around ftfy, and ftfy."""

import unicodedata

import ftfy
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import SampleError
from pipeline.modalities.base import Item
from pipeline.modalities.text import TextConfig
from pipeline.modalities.text import codec as module_codec
from pipeline.modalities.text import repair as module
from pipeline.modalities.text.codec import TextCodec, clean, read_training_text, train_tokenizer

TOKENIZER = train_tokenizer(["a photo of a dog", "an old harbour", "一张狗的照片"] * 3, 320)
# Characters that ftfy has rules for, and plain ones.
CHARACTERS = st.one_of(
    st.characters(max_codepoint=0x7F),
    st.sampled_from("&;#x<>abgtlmpqu 0123456789\t\n\r\x0b\x0c\x1b[31m\x7f\x00"),
    st.characters(),
)


def slowly(text: str) -> str:
    return unicodedata.normalize("NFC", ftfy.fix_text(text, uncurl_quotes=False)).strip()


@settings(max_examples=400)
@given(text=st.text(CHARACTERS, max_size=60))
def test_the_short_way_gives_what_ftfy_gives(text: str) -> None:
    assert clean(text) == slowly(text)


@settings(max_examples=200)
@given(
    lines=st.lists(st.text(CHARACTERS, max_size=20), max_size=4),
    encodings=st.lists(st.sampled_from(["utf-8", "latin-1", "cp1252"]), min_size=4, max_size=4),
)
def test_mis_decoded_lines_are_what_ftfy_makes_of_them(
    lines: list[str], encodings: list[str]
) -> None:
    mixed = [
        line.encode("utf-8", "ignore").decode(encoding, "replace")
        for line, encoding in zip(lines, encodings, strict=False)
    ]
    assert clean("\n".join(mixed)) == slowly("\n".join(mixed))


@settings(max_examples=200)
@given(text=st.text(st.characters(max_codepoint=0x7F), max_size=200))
def test_the_short_way_gives_what_ftfy_gives_of_ascii(text: str) -> None:
    assert clean(text) == slowly(text)


def test_plain_ascii_takes_the_short_way(monkeypatch: pytest.MonkeyPatch) -> None:
    every = "".join(map(chr, range(0x20, 0x7F))).replace("&", "") + "\t\n"
    monkeypatch.setattr(ftfy, "fix_text", lambda *_, **__: pytest.fail("not needed"))
    assert clean(every) == every.strip()
    for character in "&\r\x0b\x0c\x1b\x00\x7f\x85é":
        assert not module._CLEAN.fullmatch(f"a{character}b")


# What takes more than linear time where nothing bounds it: normalisation sorts each run of marks, and ftfy looks
# over the text once for each level of entities.
LONG = {
    "marks": "a" + "\u0315\u0323" * 100_000,
    "tibetan marks": "\u0f71\u0f72" * 100_000,
    "marks, mis-decoded": ("\u0315\u0323" * 40_000).encode().decode("latin-1"),
    "entities in entities": "&" + "amp;" * 60_000 + "lt;",
    "numbers in entities": "&" + "#38;amp;#x26;" * 20_000,
    "wide entities": "\uff06" + "amp;" * 60_000,
}


@pytest.mark.parametrize("name", LONG)
def test_texts_are_cleaned_in_linear_work(name: str) -> None:
    """A run of marks is broken as UAX #15 has it; without that, and a bound of levels, these take minutes."""
    marks = 0
    for character in unicodedata.normalize("NFKD", clean(LONG[name])):
        marks = marks + 1 if unicodedata.combining(character) else 0
        assert marks <= 2 * module.MAX_MARKS + 2
    if "entities" in name:
        assert len(clean(LONG[name])) < 100


def test_few_marks_stay_as_they_are() -> None:
    text = "e" + "\u0323\u0301" * (module.MAX_MARKS // 2)
    assert clean(text) == unicodedata.normalize("NFC", text)


@pytest.mark.parametrize("unit", ["ab", "一张", " ", "12", "?!", "\u0301e"])
def test_words_without_an_end_are_cut(unit: str) -> None:
    """Of training and of encoding; what is kept is the same as of the whole text."""
    text = clean("x" + unit * 50_000 + "x")
    codec = TextCodec(train_tokenizer([text], 400), max_tokens=16, max_bytes=1 << 20)
    [ids] = codec.tokenize([text])
    assert codec._longest <= 256
    engine = codec._tokenizer()
    assert ids.tolist() == engine.encode(text, add_special_tokens=False).ids[:16]
    assert len(codec._beginning(text)) <= 16 * 256 + 512


def test_a_training_text_is_no_longer_than_it_needs_to_be() -> None:
    config = TextConfig(max_bytes=100_000)
    text = read_training_text(memoryview(b"a word " * 10_000), "txt", config)
    assert text == ("a word " * 10_000)[: module_codec.TRAINING_CHARACTERS].strip()
    with pytest.raises(SampleError, match="max_bytes"):
        read_training_text(memoryview(b"a" * 100_001), "txt", config)


def members(texts: list[bytes]) -> list[Item]:
    return [Item(memoryview(text), "txt") for text in texts]


@settings(max_examples=60)
@given(
    texts=st.lists(
        st.one_of(st.text(max_size=80).map(str.encode), st.binary(max_size=12)), max_size=12
    ),
    max_tokens=st.integers(4, 40),
)
def test_together_as_one_by_one(texts: list[bytes], max_tokens: int) -> None:
    codec = TextCodec(TOKENIZER, max_tokens=max_tokens, max_bytes=100)
    together = codec.decode_batch(members(texts))
    assert len(together) == len(texts)
    for text, value in zip(texts, together, strict=True):
        alone = outcome(codec, text)
        assert type(value) is type(alone)
        if isinstance(value, np.ndarray) and isinstance(alone, np.ndarray):
            assert value.dtype == np.int32
            assert value.tolist() == alone.tolist()
        else:
            assert vars(value) == vars(alone)


def outcome(codec: TextCodec, text: bytes) -> np.ndarray | SampleError:
    try:
        return codec.decode(memoryview(text), "txt")
    except SampleError as error:
        return error


def test_ids_are_those_of_the_tokenizer_and_no_more_than_wanted() -> None:
    from tokenizers import Tokenizer

    text = "a photo of an old harbour " * 9
    every = Tokenizer.from_str(TOKENIZER).encode(text.strip(), add_special_tokens=False).ids
    for max_tokens in (4, 17, 500):
        codec = TextCodec(TOKENIZER, max_tokens=max_tokens, max_bytes=1000)
        assert codec.decode(memoryview(text.encode()), "txt").tolist() == every[:max_tokens]


def test_columns_of_texts_are_lists_with_nulls() -> None:
    codec = TextCodec(TOKENIZER, max_tokens=8, max_bytes=100)
    values = [np.array([1, 2], np.int32), None, np.array([], np.int32), np.array([3], np.int32)]
    column = codec.to_arrow(values)
    assert column.type == codec.column.type
    assert column.to_pylist() == [[1, 2], None, [], [3]]
    column.validate(full=True)
    assert codec.to_arrow([]).to_pylist() == []
    assert codec.to_arrow([None, None]).to_pylist() == [None, None]


@settings(max_examples=200)
@given(
    text=st.lists(
        st.sampled_from(
            ["a photo", "dog's", "  ", " ", "\t", "\n\n", "高音", "x" * 50, "1", "!", " é", "🎵"]
        ),
        max_size=120,
    ).map("".join),
    max_tokens=st.integers(4, 12),
)
def test_the_beginning_of_a_long_text_gives_the_ids_of_the_whole(
    text: str, max_tokens: int
) -> None:
    from tokenizers import Tokenizer

    codec = TextCodec(TOKENIZER, max_tokens=max_tokens, max_bytes=100_000)
    expected = Tokenizer.from_str(TOKENIZER).encode(text, add_special_tokens=False).ids
    assert codec.tokenize([text])[0].tolist() == expected[:max_tokens]
