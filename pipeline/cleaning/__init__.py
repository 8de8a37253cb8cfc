"""Copies among samples: signatures of their content, and the search for those that are alike. Arrays only."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pipeline.modalities.section import Section


class CleaningConfig(Section):
    """Which copies of samples are left out; a pass over the input before the job finds them.

    Samples are near copies where they have the same modalities, and all of these are alike. Labels and metadata do not
    count. Of several copies the first in the order of the input is kept, and of an input that has grown, the one that
    earlier runs have kept.
    """

    duplicates: Literal["none", "exact", "near"] = Field(
        default="none",
        description="copies of earlier samples of the job's input: byte for byte, or also those that are alike",
    )
    leakage: Literal["none", "report", "drop"] = Field(
        default="none",
        description="training samples whose content input.val or input.test has too: counted, or left out of training; "
        "near copies too unless duplicates is exact",
    )
    image_distance: int = Field(
        default=6,
        ge=0,
        le=10,
        description="of 64 bits, those in which the hashes of alike images differ",
    )
    text_similarity: float = Field(
        default=0.8,
        ge=0.5,
        le=1,
        description="of alike texts: shared runs of four characters, as a share",
    )
    audio_similarity: float = Field(
        default=0.97,
        ge=0.9,
        le=1,
        description="of alike sounds: correlation of coarse spectrograms",
    )

    @property
    def active(self) -> bool:
        """Whether anything is looked for."""
        return self.duplicates != "none" or self.leakage != "none"

    @property
    def near(self) -> bool:
        """Whether near copies count too, for which samples are decoded."""
        return self.active and self.duplicates != "exact"

    def identity(self, *, training: bool) -> dict[str, object]:
        """What the rows of an output depend on, for its identity; nothing where nothing is left out.

        Args:
            training: Whether the job reads the training split, which samples may leak into.
        """
        settings: dict[str, object] = {"duplicates": self.duplicates}
        if training and self.leakage == "drop":
            settings["leakage"] = self.leakage
        elif self.duplicates == "none":
            return {}
        if self.near:
            settings |= self.model_dump(
                include={"image_distance", "text_similarity", "audio_similarity"}
            )
        return {"cleaning": settings}
