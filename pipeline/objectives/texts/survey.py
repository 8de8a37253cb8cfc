"""What a pass over the texts of a split has found, in memory that does not grow with the split."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import chain, repeat

from pipeline.errors import ConfigError
from pipeline.modalities.decoding.targets import Target
from pipeline.objectives.texts.targets import SETTING, TextTarget, references_of
from pipeline.objectives.texts.vocabulary import Vocabulary, VocabularyConfig
from pipeline.sample import Sample

KEPT_TEXTS = 100_000  # distinct ones, of which a vocabulary is learned
KEPT_CHARACTERS = 1 << 12  # of each of them


@dataclass
class TextSurvey:
    """Characters of a split's texts, and a sample of the texts; see :class:`pipeline.objectives.survey.TargetSurvey`.

    The sample is that of the texts with the smallest digests: the same however the split was shared, and each with all
    of its occurrences.

    Source: Cohen & Kaplan 2007, "Summarizing data using bottom-k sketches", section 2, over distinct texts.

    Attributes:
        target: What is read.
        count: Samples.
        references: Texts, of all samples.
        characters: Character -> occurrences.
        texts: Text, its beginning -> occurrences, of the sample.
    """

    target: TextTarget
    count: int = 0
    references: int = 0
    characters: Counter[str] = field(default_factory=Counter)
    texts: Counter[str] = field(default_factory=Counter)

    def add(self, sample: Sample, json_depth: int) -> None:
        self.add_text(self.target.read(sample, json_depth))

    def add_text(self, text: str) -> None:
        references = references_of(text) or ()
        self.count += 1
        self.references += len(references)
        for reference in references:
            self.characters.update(reference)
            self.texts[reference[:KEPT_CHARACTERS]] += 1
        self._keep(2 * KEPT_TEXTS)

    def merge(self, other: TextSurvey) -> None:
        self.count += other.count
        self.references += other.references
        self.characters.update(other.characters)
        self.texts.update(other.texts)
        self._keep(2 * KEPT_TEXTS)

    def refused(self, target: Target) -> Counter[str]:
        return Counter()

    def vocabulary(self, config: VocabularyConfig) -> Vocabulary:
        """The symbols that the texts are written with.

        Raises:
            ConfigError: There are no texts.
        """
        self._keep(KEPT_TEXTS)
        if not self.texts:
            raise ConfigError(
                "no training sample has a text",
                where=f"{SETTING}={self.target.place}",
                fix=f"set {SETTING} to a field with texts, or json.path inside a JSON field",
            )
        occurrences = (repeat(text, self.texts[text]) for text in sorted(self.texts))
        return config.learn(self.characters, chain.from_iterable(occurrences))

    def most_frequent(self) -> str:
        """The text that most samples have; the first by its characters of several."""
        return min(self.texts, key=lambda text: (-self.texts[text], text))

    def unknown(self, vocabulary: Vocabulary) -> int:
        """Characters of all texts that a vocabulary has no symbol of."""
        return sum(
            count for character, count in self.characters.items() if not vocabulary.has(character)
        )

    def longer(self, vocabulary: Vocabulary, length: int) -> int:
        """Texts of the sample that have more symbols than so many."""
        return sum(
            count for text, count in self.texts.items() if len(vocabulary.encode(text)) > length
        )

    def _keep(self, most: int) -> None:
        if len(self.texts) <= most:
            return
        kept = sorted(self.texts, key=_digest)[:KEPT_TEXTS]
        self.texts = Counter({text: self.texts[text] for text in kept})


def _digest(text: str) -> bytes:
    return blake2b(text.encode(), digest_size=8).digest()
