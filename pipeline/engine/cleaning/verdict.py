"""What becomes of each sample of an input, told to its parts, the summary and the report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import pyarrow as pa

from pipeline.cleaning import CleaningConfig
from pipeline.cleaning.copies import Copies
from pipeline.cleaning.report import CopyExample, SplitCopies
from pipeline.engine.cleaning.signing import Signed, Signer, read_keys
from pipeline.engine.decoding.decoded_folder import is_decoded
from pipeline.sample import FILTERS
from pipeline.shards.planning.plan import Part
from pipeline.shards.reading.left_out import LeftOut

TRAIN_SPLIT = "train"  # whose samples leak from the other splits
EXACT, NEAR, LEAK = "filtered_duplicate", "filtered_near_duplicate", "filtered_leak"
REASONS = (EXACT, NEAR, LEAK)
SETTINGS = {EXACT: "cleaning.duplicates", NEAR: "cleaning.duplicates", LEAK: "cleaning.leakage"}
EXAMPLES = 5  # of each reason


@dataclass(frozen=True)
class Compared:
    """All parts that are compared, in the order in which copies are kept.

    Attributes:
        names: Of the splits; their places are their numbers, and only a training split has the number 0.
        parts: Their parts, those that are done first.
        splits: (P,) uint8, the split of each.
        unread: Parts of preprocessed folders, which are not compared.
    """

    names: tuple[str, ...]
    parts: tuple[Part, ...]
    splits: np.ndarray
    unread: int

    @classmethod
    def of(cls, splits: Mapping[str, Sequence[Part]], done: Set[str]) -> Compared:
        """Puts splits in order."""
        names = [TRAIN_SPLIT, *(name for name in splits if name != TRAIN_SPLIT)]
        parts: list[Part] = []
        numbers: list[int] = []
        for number, name in enumerate(names):
            readable = [part for part in splits.get(name, ()) if not is_decoded(part)]
            parts += sorted(readable, key=lambda part: part.id not in done)
            numbers += [number] * len(readable)
        unread = sum(map(len, splits.values())) - len(parts)
        return cls(tuple(names), tuple(parts), np.array(numbers, dtype=np.uint8), unread)

    def splits_of_samples(self, signed: Signed) -> np.ndarray:
        """(N,) uint8, the number of each sample's split."""
        return np.repeat(self.splits, np.diff(signed.starts))

    def split(self, part: int) -> str:
        """The name of a part's split."""
        return self.names[int(self.splits[part])]


@dataclass(frozen=True)
class Verdict:
    """What becomes of N samples.

    Attributes:
        found: (N,) int8, place in ``REASONS``; -1 where a sample is no copy.
        out: (N,) bool, whether the sample is left out.
        of: (N,) int64, the sample that it is a copy of.
    """

    found: np.ndarray
    out: np.ndarray
    of: np.ndarray

    @classmethod
    def judge(cls, settings: CleaningConfig, copies: Copies, read: np.ndarray) -> Verdict:
        """Applies the settings to what was found.

        Args:
            settings: What to look for, and what to leave out.
            copies: What was found.
            read: (N,) bool, samples that the job reads; the others are only compared with.
        """
        kinds = np.full(len(read), -1, dtype=np.int8)
        of = copies.first.copy()
        if settings.duplicates != "none":
            repeated = copies.first != np.arange(len(read))
            kinds[repeated & copies.same] = REASONS.index(EXACT)
            kinds[repeated & ~copies.same] = REASONS.index(NEAR)
        kinds[~read] = -1
        out = kinds >= 0
        if settings.leakage != "none":
            # A copy that is left out anyway leaks no more; one that would be kept for it must be named.
            leaks = (copies.leak >= 0) & read & ((settings.leakage == "drop") | ~out)
            kinds[leaks], of[leaks] = REASONS.index(LEAK), copies.leak[leaks]
            out |= leaks & (settings.leakage == "drop")
        return cls(kinds, out, of)


@dataclass(frozen=True)
class Result:
    """All that is known when the verdict is there."""

    compared: Compared
    signer: Signer
    signed: Signed
    verdict: Verdict

    def digest(self) -> str:
        """Of what is left out."""
        decided = blake2b(np.where(self.verdict.out, self.verdict.of, -1).tobytes(), digest_size=12)
        for part in self.compared.parts:
            decided.update(part.id.encode())
        return decided.hexdigest()

    def left_out(self) -> Iterator[tuple[Part, LeftOut]]:
        """For each part the samples that it leaves out."""
        verdict, signed = self.verdict, self.signed
        originals = self._names(verdict.of[verdict.out])
        for number, part in enumerate(self.compared.parts):
            start, end = signed.starts[number : number + 2]
            samples = start + np.flatnonzero(verdict.out[start:end])
            rows = {}
            for sample, (_, shard, key) in zip(
                samples, originals.of(verdict.of[samples]), strict=True
            ):
                reason = REASONS[verdict.found[sample]]
                why = reason, f"a copy of {key} in {shard}", SETTINGS[reason]
                rows[int(signed.ordinals[sample])] = why
            yield part, rows

    def counts(self, splits: Mapping[str, Sequence[str]]) -> dict[str, SplitCopies]:
        """The samples of each split, those left out, and those found for each reason.

        Args:
            splits: Name -> the reasons that were looked for in it.
        """
        of_samples = self.compared.splits_of_samples(self.signed)
        counts = {}
        for name, reasons in splits.items():
            inside = of_samples == self.compared.names.index(name)
            totals = np.bincount(self.verdict.found[inside] + 1, minlength=1 + len(REASONS))
            counts[name] = SplitCopies(
                samples=int(inside.sum()),
                left_out=int(self.verdict.out[inside].sum()),
                found={reason: int(totals[1 + REASONS.index(reason)]) for reason in reasons},
            )
        return counts

    def examples(self) -> list[CopyExample]:
        """The first copies of each kind, with what they are copies of."""
        examples = []
        for index, reason in enumerate(REASONS):
            copies = np.flatnonzero(self.verdict.found == index)[:EXAMPLES]
            originals = self.verdict.of[copies]
            pairs = zip(
                self._names(copies).of(copies), self._names(originals).of(originals), strict=True
            )
            for copy, original in pairs:
                examples.append(CopyExample(reason, FILTERS[reason], *copy, *original))
        return examples

    def _names(self, samples: np.ndarray) -> _Names:
        """Reads the keys of some samples again: those of all are never held."""
        samples = np.unique(samples)
        owners = np.searchsorted(self.signed.starts, samples, side="right") - 1
        chunks: list[pa.Array] = []
        for number in np.unique(owners):
            inside = samples[owners == number] - self.signed.starts[number]
            chunks += read_keys(self.signer, self.compared.parts[number], inside).chunks
        return _Names(self.compared, samples, owners, pa.chunked_array(chunks, pa.string()))


@dataclass(frozen=True)
class _Names:
    """Split, shard and key of some samples.

    Attributes:
        compared: The input.
        samples: (K,) int64, ascending.
        owners: (K,) int64, the parts that hold them.
        keys: (K,) strings.
    """

    compared: Compared
    samples: np.ndarray
    owners: np.ndarray
    keys: pa.ChunkedArray

    def of(self, samples: np.ndarray) -> Iterator[tuple[str, str, str]]:
        """(split, shard, key) of each of these, which must be among them."""
        for place in np.searchsorted(self.samples, samples):
            part = int(self.owners[place])
            shard = self.compared.parts[part].shard
            yield self.compared.split(part), shard, self.keys[int(place)].as_py()
