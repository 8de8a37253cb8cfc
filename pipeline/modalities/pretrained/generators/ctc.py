"""Networks that say a character of every frame of a sound (CTC): Wav2Vec2 and HuBERT."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from pydantic import Field
from torch import Tensor

from pipeline.modalities.inputs import WholeSoundInput
from pipeline.modalities.pretrained.generators.base import GeneratorDescription, Taken, settled
from pipeline.modalities.pretrained.generators.windows import padded_size, windows
from pipeline.modalities.pretrained.generators.writing import (
    Generator,
    Piece,
    Written,
    of_transformers,
)
from pipeline.modalities.pretrained.hf.folder import read_extractor, read_model, read_tokenizer
from pipeline.modalities.section import Section

TEXT = "transcript"
LEAST_SECONDS = 0.5  # that a sound is padded to
TINY = 1e-7  # added to a sound's variance
NO_FRAME = -1


class CtcSettings(Section):
    """How sounds are written down."""

    window_seconds: float = Field(
        default=30.0, ge=1, le=600, description="longer sounds are written down in windows"
    )


def describe(folder: Path, architecture: str, settings: Mapping[str, Any]) -> Taken:
    """What a network takes and gives."""
    chosen = settled(CtcSettings, settings, architecture)
    read_tokenizer(folder)
    inputs = WholeSoundInput(read_extractor(folder).sampling_rate)
    return Taken("audio", inputs, chosen.model_dump(mode="json"), (pa.field(TEXT, pa.string()),))


def load(folder: Path, description: GeneratorDescription) -> Ctc:
    """Builds the network."""
    return Ctc(
        read_model(folder, of_transformers(description.architecture)),
        read_extractor(folder),
        read_tokenizer(folder),
        float(description.settings["window_seconds"]),
    )


class Ctc(Generator):
    """Writes windows of sounds down.

    Networks that normalise over the time of a sound (``feat_extract_norm: group``) would see its padding: of these,
    only sounds of the same length go together.

    Args:
        network: It.
        extractor: Its feature extractor.
        tokenizer: Its tokenizer.
        window_seconds: Longest window.
    """

    def __init__(self, network: Any, extractor: Any, tokenizer: Any, window_seconds: float) -> None:
        self.network = network
        self.tokenizer = tokenizer
        self.normalizes = bool(extractor.do_normalize)
        rate = int(extractor.sampling_rate)
        self.most, self.least = round(window_seconds * rate), round(LEAST_SECONDS * rate)
        self.is_padded = network.config.feat_extract_norm != "group"

    def passes(self, column: pa.Array) -> Iterator[list[Piece]]:
        """All windows that are long enough for a frame."""
        sounds = [value.values.to_numpy() for value in column]
        yield [
            Piece(row, number, self._size(end - start), sound[start:end], start)
            for row, sound in enumerate(sounds)
            for number, (start, end) in enumerate(windows(sound, self.most))
            if self._num_frames(torch.tensor(end - start)) > 0
        ]

    def _size(self, length: int) -> int:
        return padded_size(length, self.least, self.most) if self.is_padded else length

    def _num_frames(self, lengths: Tensor) -> Tensor:
        """Lengths of sounds, int64 of any shape -> how many frames they have."""
        frames: Tensor = self.network._get_feat_extract_output_lengths(lengths)
        return frames

    def prepare(self, pieces: Sequence[Piece]) -> tuple[Tensor, ...]:
        """Sounds (B, T) float32, of mean 0 and variance 1 where the network wants that, and their lengths (B,) int64.

        Source: transformers, models/wav2vec2/feature_extraction_wav2vec2.py, ``zero_mean_unit_var_norm``.
        """
        sounds = np.zeros((len(pieces), pieces[0].size), dtype=np.float32)
        for row, piece in enumerate(pieces):
            sound = piece.content
            if self.normalizes:
                sound = (sound - sound.mean()) / np.sqrt(sound.var() + TINY)
            sounds[row, : len(sound)] = sound
        lengths = torch.tensor([len(piece.content) for piece in pieces])
        return torch.from_numpy(sounds), lengths

    def generate(self, *inputs: Tensor) -> Tensor:
        """The likeliest character of each frame, (B, N) int64; -1 behind the last."""
        sounds, lengths = inputs
        mask = None
        if self.is_padded:
            places = torch.arange(sounds.shape[1], device=sounds.device)
            mask = (places < lengths.unsqueeze(1)).long()
        characters = self.network(sounds, attention_mask=mask).logits.argmax(dim=-1)
        places = torch.arange(characters.shape[1], device=sounds.device)
        real = places < self._num_frames(lengths).unsqueeze(1)
        return torch.where(real, characters, NO_FRAME)

    def read(self, tokens: list[int], piece: Piece) -> Written:
        """The characters of the frames that there are."""
        return Written([token for token in tokens if token != NO_FRAME])

    def columns(self, samples: Sequence[Sequence[tuple[Piece, Written]]]) -> dict[str, list[Any]]:
        """Transcripts of whole sounds."""
        texts = (
            [self.tokenizer.decode(each.tokens).strip() for _, each in sample] for sample in samples
        )
        return {TEXT: [" ".join(filter(None, pieces)) for pieces in texts]}
