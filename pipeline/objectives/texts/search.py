"""How a text is found that a network finds likely."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from pipeline.modalities.section import Section
from pipeline.objectives.texts.vocabulary import END, PAD, START

if TYPE_CHECKING:
    from pipeline.modalities.chance import Chance
    from pipeline.nets.generation import Generated, State, Step


class _SearchConfig(Section):
    """What all searches have.

    Attributes:
        DRAWS: Whether a text depends on chance.
    """

    DRAWS: ClassVar[bool] = False


class GreedyConfig(_SearchConfig):
    """The likeliest symbol each time."""

    kind: Literal["greedy"] = "greedy"

    def run(self, step: Step, state: State, length: int, chance: Chance) -> Generated:
        """Writes texts of at most ``length`` symbols; see :mod:`pipeline.nets.generation`."""
        from pipeline.nets.generation import Alphabet, beam_search

        return beam_search(step, state, Alphabet(PAD, START, END), length=length)


class BeamConfig(_SearchConfig):
    """Several beginnings of a text are followed at once, and the likeliest whole text is taken."""

    kind: Literal["beam"] = "beam"
    width: Annotated[int, Field(ge=1, le=64, description="beginnings that are followed")] = 4
    length_penalty: Annotated[
        float, Field(ge=0, description="favours longer texts; 0 favours none")
    ] = 0.6

    def run(self, step: Step, state: State, length: int, chance: Chance) -> Generated:
        """Writes texts of at most ``length`` symbols; see :mod:`pipeline.nets.generation`."""
        from pipeline.nets.generation import Alphabet, beam_search

        return beam_search(
            step,
            state,
            Alphabet(PAD, START, END),
            length=length,
            width=self.width,
            length_penalty=self.length_penalty,
        )


class NucleusConfig(_SearchConfig):
    """Symbols by chance, of the likeliest: other texts with another seed."""

    DRAWS = True

    kind: Literal["nucleus"] = "nucleus"
    share: Annotated[
        float, Field(gt=0, le=1, description="probability that the likeliest symbols have together")
    ] = 0.9
    temperature: Annotated[float, Field(gt=0, description="lower is surer, higher more varied")] = (
        1.0
    )

    def run(self, step: Step, state: State, length: int, chance: Chance) -> Generated:
        """Writes texts of at most ``length`` symbols; see :mod:`pipeline.nets.generation`."""
        from pipeline.nets.generation import Alphabet, sample_nucleus

        drawn = chance.stream("symbols")
        return sample_nucleus(
            step,
            state,
            Alphabet(PAD, START, END),
            length=length,
            uniform=lambda: drawn.uniform(1)[:, 0],
            share=self.share,
            temperature=self.temperature,
        )


SearchConfig = Annotated[GreedyConfig | BeamConfig | NucleusConfig, Field(discriminator="kind")]
