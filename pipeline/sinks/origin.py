"""The input that an output was made from, and whether a job over another one would lose what is there."""

from __future__ import annotations

import json
import os.path
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline import runs, storage
from pipeline.storage.location import WEB_SCHEMES, scheme_of

INPUT = "_input.json"  # in _commit, beside the identity
_SLASHES = re.compile("(?<!:)//+")
# Names in the query of a web address that sign it, as S3, Google, Azure, CloudFront and others write them.
_SIGNING = re.compile(
    r"(?i)x-[a-z]+-.*|.*(?:signature|token|accesskeyid|accessid|auth)|expires|policy|key-pair-id|sig"
    r"|s[veptrs]|srt|spr|sip|sdd|sk(?:oid|tid|t|e|s|v)"
)


@dataclass(frozen=True)
class Origin:
    """An input, however its patterns are spelled.

    Attributes:
        patterns: Full paths and URLs, sorted, without what may sign them.
        max_samples: How many samples are read of them at most; None for all.
    """

    patterns: tuple[str, ...]
    max_samples: int | None = None

    @classmethod
    def of(cls, patterns: str | Sequence[str], max_samples: int | None = None) -> Origin:
        """The origin that a configuration names.

        Args:
            patterns: As given: relative ones count from the folder that the process runs in.
            max_samples: See :class:`Origin`.
        """
        listed = [patterns] if isinstance(patterns, str) else patterns
        return cls(tuple(sorted(set(map(full_location, listed)))), max_samples)

    @classmethod
    def read(cls, url: str) -> Origin | None:
        """The origin that was written there; None where none was."""
        try:
            values: Mapping[str, Any] = json.loads(storage.read_bytes(url))
        except FileNotFoundError:
            return None
        return cls(tuple(values["patterns"]), values["max_samples"])

    def write(self, url: str) -> None:
        """Writes it, for :meth:`read`."""
        storage.write_bytes(url, json.dumps(vars(self)).encode())

    def refusal(
        self, made: Origin | None, recorded: Collection[str], planned: Collection[str]
    ) -> str | None:
        """Why a job over this input must not publish where rows of another one are; None where it may.

        An input may grow, also by a wider pattern, and be spelled otherwise: no row goes. Under the same patterns,
        shards may change or go as well.

        Args:
            made: The input of the rows that are there; None where an earlier version has not noted it.
            recorded: Identities of the parts that are done.
            planned: Identities of the parts of this input.
        """
        lost = len(set(recorded) - set(planned))
        if not lost:
            return None
        if made is None:
            what = f"{lost} of the {len(recorded)} parts that the output was made from"
            return f"{what} are not in {shown(self.patterns)}"
        if self.patterns != made.patterns:
            return self._other_patterns(made)
        if self.max_samples is None:
            return None
        if made.max_samples is not None and made.max_samples <= self.max_samples:
            return None
        before = "all" if made.max_samples is None else f"the first {made.max_samples}"
        return (
            f"the output was made from {before} samples of {shown(made.patterns)}, "
            f"and input.max_samples={self.max_samples} would leave fewer"
        )

    def _other_patterns(self, made: Origin) -> str:
        gone = [name for name in made.patterns if name not in self.patterns]
        new = [name for name in self.patterns if name not in made.patterns]
        if gone and new:
            return f"the output was made from {shown(gone)}, and the input is now {shown(new)}"
        word, names = ("lacks", gone) if gone else ("also has", new)
        return f"the output was made from {shown(made.patterns)}, and the input now {word} {shown(names)}"


def full_location(pattern: str) -> str:
    """A pattern in the one spelling by which two are compared: absolute, without ``.``, doubled slashes or a signature.

    The query of a web address may say which file is meant. A digest stands for it, since it may open doors too.
    """
    if storage.is_local(pattern):
        return os.path.abspath(storage.local_path(pattern))
    place = _SLASHES.sub("/", storage.without_query(pattern)).rstrip("/")
    query = pattern.partition("?")[2] if scheme_of(pattern) in WEB_SCHEMES else ""
    parameters = sorted(
        pair for pair in query.split("&") if pair and not _SIGNING.fullmatch(pair.partition("=")[0])
    )
    return f"{place}?{runs.fingerprint(parameters)[:8]}" if parameters else place


def shown(patterns: Sequence[str]) -> str:
    """Patterns in one line, the first of many."""
    more = f" and {len(patterns) - 1} more" if len(patterns) > 1 else ""
    return f"{patterns[0]}{more}"
