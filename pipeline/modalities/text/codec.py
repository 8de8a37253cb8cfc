"""Text bytes -> token ids, and the tokenizer's training."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from pipeline.errors import SampleError
from pipeline.limits import beyond
from pipeline.modalities.base import Decoded, Dense, Item
from pipeline.modalities.text.filters import check_text
from pipeline.modalities.text.repair import clean

if TYPE_CHECKING:
    from pipeline.modalities.text import TextConfig, TextFilterConfig

__all__ = [
    "PAD",
    "TextCodec",
    "clean",
    "read_member",
    "read_text",
    "read_training_text",
    "too_long",
    "train_tokenizer",
]

PAD = 0
SPECIAL_TOKENS = ("<pad>", "<start>", "<end>")
NUM_BYTES = 256
MAX_WORD_BYTES = 256  # of what is tokenized at a time
_CUTS_WORDS = '"FixedLength"'  # in the JSON of a tokenizer that does so
TRAINING_CHARACTERS = 1 << 14  # of a text, for the tokenizer's training
UTF_8 = "utf-8"
ENCODING = "modalities.text.encoding"
_BETWEEN_WORDS = re.compile(r"[^\s] (?=[^\s])")
_SURROGATE = re.compile(r"[\ud800-\udfff]")


class TextCodec:
    """Decodes a text to (L,) int32 token ids, L <= ``max_tokens``.

    The text is in one encoding (a byte-order mark is dropped) and holds no NUL. It is repaired with ftfy, normalised to
    NFC, and tokenized with byte-level BPE, so that any script is covered without unknown tokens.

    Args:
        tokenizer: JSON of a ``tokenizers.Tokenizer``.
        max_tokens: Ids kept.
        max_bytes: Longer texts are refused.
        encoding: Of the texts, by Python's name.
        limits: Which good texts are left out; None leaves out none.
    """

    def __init__(
        self,
        tokenizer: str,
        max_tokens: int,
        max_bytes: int,
        encoding: str = UTF_8,
        limits: TextFilterConfig | None = None,
    ) -> None:
        self.tokenizer = tokenizer
        self.max_tokens = max_tokens
        self.max_bytes = max_bytes
        self.encoding = encoding
        self.limits = limits
        self._engine: Any = None
        self._longest = 1

    @property
    def column(self) -> pa.Field:
        """``text``: list<int32>."""
        return pa.field("text", pa.list_(pa.int32()), metadata={"max_tokens": str(self.max_tokens)})

    def modules(self, fields: Sequence[str]) -> Sequence[str]:
        """See :class:`pipeline.modalities.base.Codec`."""
        return ("tokenizers", "encodings.utf_8_sig")

    def decode(self, data: memoryview, field: str) -> np.ndarray:
        """Decodes one text to (L,) int32.

        Raises:
            SampleError: Not in the encoding, with NUL, or too long.
        """
        return self.tokenize([self._text(data, field)])[0]

    def empty(self, count: int) -> None:
        """None: texts differ in length."""

    def decode_batch(
        self, items: Sequence[Item], out: Sequence[np.ndarray] | None = None
    ) -> list[Decoded]:
        """Decodes texts, all in one call of the tokenizer."""
        results: list[Decoded | None] = [None] * len(items)
        texts: dict[int, str] = {}
        for index, item in enumerate(items):
            try:
                texts[index] = self._text(item.data, item.field)
            except SampleError as error:
                results[index] = error
        for index, ids in zip(texts, self.tokenize(list(texts.values())), strict=True):
            results[index] = ids
        return [result for result in results if result is not None]

    def _text(self, data: memoryview, field: str) -> str:
        text = clean(read_member(data, field, self.max_bytes, self.encoding))
        if self.limits is not None:
            check_text(text, self.limits, field)
        return text

    def show(self, data: memoryview, field: str) -> str:
        """The cleaned text.

        Raises:
            SampleError: As :meth:`decode`.
        """
        return self._text(data, field)

    def tokenize(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Cleaned texts -> (L,) int32 ids of each."""
        engine = self._tokenizer()
        beginnings = [self._beginning(text) for text in texts]
        encodings = engine.encode_batch_fast(beginnings, add_special_tokens=False)
        return [np.array(encoding.ids, dtype=np.int32) for encoding in encodings]

    def _beginning(self, text: str) -> str:
        """What all ids that are kept come from: of a long text, the tokenizer would hold all of it many times over.

        No token is of more than ``_longest`` bytes, nor goes on behind a space between two words, nor over more than
        ``MAX_WORD_BYTES``, unless the tokenizer is of an earlier version.
        """
        enough = self.max_tokens * self._longest
        if len(text) <= enough:
            return text
        most = enough + 2 * MAX_WORD_BYTES if _CUTS_WORDS in self.tokenizer else len(text)
        end = _BETWEEN_WORDS.search(text, enough, most)
        return text[: end.start() + 1 if end else most]

    def _tokenizer(self) -> Any:
        if self._engine is None:
            # One decode task has one CPU; threads of the tokenizer's own would take the neighbours'.
            os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
            from tokenizers import Tokenizer

            self._engine = Tokenizer.from_str(self.tokenizer)
            self._engine.enable_truncation(self.max_tokens)
            # A byte-level vocabulary writes each byte as one character.
            self._longest = max(map(len, self._engine.get_vocab()), default=1)
        return self._engine

    def marked(self, ids: np.ndarray, left: np.ndarray) -> list[tuple[str, bool]]:
        """A text in pieces, each with whether its tokens are still there; see :func:`marked_text`.

        Args:
            ids: (L,) int64 of the whole text, PAD where there is no token.
            left: The same, PAD where a token was dropped.
        """
        from pipeline.modalities.text.show import marked_text

        return marked_text(ids.tolist(), left.tolist(), self.tokenizer)

    def text(self, ids: np.ndarray) -> str:
        """The text that ids are of, (L,) int64, PAD where there is no token; a cut character becomes U+FFFD."""
        text: str = self._tokenizer().decode(ids[ids != PAD].tolist())
        return text

    def to_arrow(self, values: Sequence[np.ndarray | None]) -> pa.Array:
        """(L,) int32 arrays -> a column, null where None."""
        lengths = [0 if value is None else len(value) for value in values]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        ids = [value for value in values if value is not None]
        flat = np.concatenate(ids) if ids else np.empty(0, dtype=np.int32)
        missing = pa.array([value is None for value in values], type=pa.bool_())
        return pa.ListArray.from_arrays(
            pa.array(offsets), pa.array(flat), type=self.column.type, mask=missing
        )

    def collate(self, column: pa.Array) -> Dense:
        """A column -> (B, max_tokens) int64 ids, padded with PAD, and its presence."""
        ids = np.full((len(column), self.max_tokens), PAD, dtype=np.int64)
        present = np.asarray(column.is_valid())
        for row, value in enumerate(column):
            if present[row]:
                numbers = value.values.to_numpy()[: self.max_tokens]
                ids[row, : len(numbers)] = numbers
        return Dense(ids, present)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_engine": None}


def read_member(data: memoryview, field: str, max_bytes: int, encoding: str = UTF_8) -> str:
    """Reads a text as :func:`read_text` does, unless it is longer than the configuration allows.

    Args:
        data: The text.
        field: Its extension.
        max_bytes: Of a text.
        encoding: By Python's name.

    Raises:
        SampleError: It is longer, or cannot be read.
    """
    if len(data) > max_bytes:
        raise too_long(len(data), max_bytes, field)
    return read_text(data, field, encoding)


def too_long(size: int, max_bytes: int, field: str) -> SampleError:
    """The fault of a text of more bytes than may be."""
    what, setting = f"the text has {size} bytes", "modalities.text.max_bytes"
    return beyond(what, setting=setting, limit=max_bytes, needed=size, field=field)


def read_text(data: memoryview, field: str, encoding: str = UTF_8) -> str:
    """Reads a text, with or without a byte-order mark.

    Args:
        data: The text.
        field: Its extension.
        encoding: By Python's name.

    Raises:
        SampleError: Not in that encoding, or with NUL, which no text has: binary in disguise, or another encoding.
    """
    try:
        text = str(data, "utf-8-sig" if encoding == UTF_8 else encoding)
    except UnicodeError as error:
        name, place = encoding.upper(), getattr(error, "start", None)
        what = f"not {name}" + (f": byte {place} cannot be read" if place is not None else "")
        raise SampleError(what, reason="bad_text", field=field, setting=ENCODING) from None
    if "\0" in text:
        what = f"no text: there is a NUL at character {text.index(chr(0))}"
        raise SampleError(what, reason="bad_text", field=field, setting=ENCODING)
    if encoding != UTF_8:
        text = text.removeprefix("\ufeff")
        if _SURROGATE.search(text):  # some encodings can say half of a character
            what = f"not {encoding.upper()}: there is half of a character"
            raise SampleError(what, reason="bad_text", field=field, setting=ENCODING)
    return text


def read_training_text(data: memoryview, field: str, config: TextConfig) -> str:
    """The beginning of a text, cleaned, as the tokenizer is trained on it.

    Raises:
        SampleError: As :func:`read_member`.
    """
    text = read_member(data, field, config.max_bytes, config.encoding)
    return clean(text[:TRAINING_CHARACTERS])


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> str:
    """Trains byte-level BPE on cleaned texts; the same texts give the same tokenizer.

    Args:
        texts: Cleaned texts.
        vocab_size: Upper bound of the vocabulary, at least 259: the bytes and the special tokens.

    Returns:
        The tokenizer as JSON.

    Source: Sennrich et al. 2016 (arXiv:1508.07909); on bytes as in Radford et al. 2019.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    # Pairs within a word are counted anew after each merge: what has no spaces for long is cut.
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.ByteLevel(add_prefix_space=False),
            pre_tokenizers.FixedLength(MAX_WORD_BYTES),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=max(vocab_size, NUM_BYTES + len(SPECIAL_TOKENS)),
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_batches(texts), trainer=trainer)
    trained: str = tokenizer.to_str()
    return trained


def _batches(texts: Iterable[str], size: int = 1000) -> Iterator[list[str]]:
    batch: list[str] = []
    for text in texts:
        batch.append(text)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
