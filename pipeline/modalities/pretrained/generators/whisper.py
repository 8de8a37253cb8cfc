"""Whisper: windows of sounds -> log-mel spectrograms on the network's device -> transcripts, and their language."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import torch
from pydantic import Field
from torch import Tensor, nn
from transformers.models.whisper.tokenization_whisper import TO_LANGUAGE_CODE

from pipeline.errors import ConfigError
from pipeline.modalities.inputs import WholeSoundInput
from pipeline.modalities.pretrained.generators.base import (
    NUM_TOKENS,
    WHERE,
    GeneratorDescription,
    SearchSettings,
    Taken,
    bounded,
    settled,
)
from pipeline.modalities.pretrained.generators.windows import windows
from pipeline.modalities.pretrained.generators.writing import (
    Generator,
    Piece,
    Written,
    num_beams,
    of_transformers,
    search_by,
)
from pipeline.modalities.pretrained.hf.folder import (
    read_config,
    read_extractor,
    read_generation,
    read_model,
    read_tokenizer,
)

TEXT, LANGUAGE, SEGMENTS = "transcript", "language", "segments"
PROMPT_TOKENS = 4  # that a transcript begins with: start, language, task, whether there are times
STEP_SECONDS = 0.02  # between the times that the network can say
FLOOR, RANGE = 1e-10, 8.0  # of the power before the logarithm; of its logarithms that are kept
SEGMENT = pa.struct([("start", pa.float32()), ("end", pa.float32()), ("text", pa.string())])
UNKNOWN = -1


class WhisperSettings(SearchSettings):
    """How sounds are written down."""

    language: str | None = Field(
        default=None,
        description="that is spoken, as en or english; heard in the first window of each sound by default",
    )
    task: Literal["transcribe", "translate"] = Field(
        default="transcribe", description="translate writes English"
    )
    timestamps: bool = Field(
        default=False, description="adds the column segments: start and end in seconds, and text"
    )


def describe(folder: Path, architecture: str, settings: Mapping[str, Any]) -> Taken:
    """What a Whisper takes and gives."""
    chosen = settled(WhisperSettings, settings, architecture)
    extractor, config, search = read_extractor(folder), read_config(folder), read_generation(folder)
    read_tokenizer(folder)
    limit = config.max_target_positions - PROMPT_TOKENS
    fields = [pa.field(TEXT, pa.string()), pa.field(LANGUAGE, pa.string())]
    if chosen.timestamps:
        _require(hasattr(search, "no_timestamps_token_id"), "timestamps", "times")
        fields.append(pa.field(SEGMENTS, pa.list_(SEGMENT)))
    if chosen.language is not None or chosen.task == "translate":
        name = "language" if chosen.language is not None else "task"
        _require(_languages(search) is not None, name, "languages to choose among")
    resolved = {
        "max_new_tokens": bounded(chosen.max_new_tokens, limit, limit),
        "num_beams": num_beams(folder, chosen.num_beams),
        "language": chosen.language and _code(chosen.language, _languages(search) or {}),
        "task": chosen.task,
        "timestamps": chosen.timestamps,
    }
    inputs = WholeSoundInput(extractor.sampling_rate)
    return Taken("audio", inputs, resolved, (*fields, pa.field(NUM_TOKENS, pa.int32())))


def load(folder: Path, description: GeneratorDescription) -> Whisper:
    """Builds the network."""
    return Whisper(
        read_model(folder, of_transformers(description.architecture)),
        read_extractor(folder),
        read_tokenizer(folder),
        description.settings,
    )


def _require(has: bool, name: str, what: str) -> None:
    if not has:
        raise ConfigError(f"the network has no {what}", where=f"{WHERE}.{name}", fix="leave it out")


def _languages(search: Any) -> dict[str, int] | None:
    """Code -> token; None of a network of one language."""
    if not getattr(search, "is_multilingual", False):
        return None
    tokens = getattr(search, "lang_to_id", None) or {}
    return {token.strip("<|>"): number for token, number in tokens.items()} or None


def _code(language: str, languages: Mapping[str, int]) -> str:
    """The code of a language that a person has named.

    Raises:
        ConfigError: The network does not know it.
    """
    name = language.lower()
    code: str = TO_LANGUAGE_CODE.get(name, name)
    if code not in languages:
        near = difflib.get_close_matches(name, [*languages, *TO_LANGUAGE_CODE], n=1)
        raise ConfigError(
            f"the network knows no language {language}",
            where=f"{WHERE}.language",
            fix=f"did you mean {near[0]}?" if near else f"choose one of {', '.join(languages)}",
        )
    return code


class WhisperNetwork(nn.Module):
    """The model, and what makes its features.

    Args:
        model: A Whisper.
        extractor: Its feature extractor.
    """

    def __init__(self, model: Any, extractor: Any) -> None:
        super().__init__()
        self.model = model
        self.length, self.hop = int(extractor.n_fft), int(extractor.hop_length)
        self.filters: Tensor
        self.window: Tensor
        self.register_buffer("filters", torch.tensor(extractor.mel_filters.T, dtype=torch.float32))
        self.register_buffer("window", torch.hann_window(self.length))

    def features(self, sounds: Tensor) -> Tensor:
        """(B, T) float32 -> (B, F, N) float32.

        Source: transformers, models/whisper/feature_extraction_whisper.py, ``_torch_extract_fbank_features``.
        """
        # In float32 under autocast too: a spectrum in bfloat16 would lose all quiet bins.
        with torch.autocast(sounds.device.type, enabled=False):
            spectrum = torch.stft(
                sounds, self.length, self.hop, window=self.window, return_complex=True
            )
            power = spectrum[..., :-1].abs().square().contiguous()
            mel = (self.filters @ power).clamp(min=FLOOR).log10()
            loudest = mel.amax(dim=(1, 2), keepdim=True)
            features: Tensor = (torch.maximum(mel, loudest - RANGE) + 4.0) / 4.0
            return features


class Whisper(Generator):
    """Writes windows of sounds down, each padded to the length that the network takes.

    The language of a sound is the one that is heard in its first window.

    Args:
        model: A Whisper.
        extractor: Its feature extractor.
        tokenizer: Its tokenizer.
        settings: Those of its description.
    """

    def __init__(
        self, model: Any, extractor: Any, tokenizer: Any, settings: Mapping[str, Any]
    ) -> None:
        self.ending = search_by(model, settings)
        self.network = WhisperNetwork(model, extractor)
        self.tokenizer = tokenizer
        self.settings = settings
        self.num_samples = int(extractor.n_samples)
        self.rate = int(extractor.sampling_rate)
        search = model.generation_config
        self.languages = _languages(search)
        self.names = {number: code for code, number in (self.languages or {}).items()}
        no_times = getattr(search, "no_timestamps_token_id", None)
        self.first_time = None if no_times is None else no_times + 1
        tasks = getattr(search, "task_to_id", None) or {}
        self.beginnings = {*self.names, *tasks.values(), search.decoder_start_token_id, no_times}
        self.special = {*tokenizer.all_special_ids, *self.beginnings}
        self.heard: dict[int, int] = {}  # sample -> token of its language

    def passes(self, column: pa.Array) -> Iterator[list[Piece]]:
        """The first windows, then those whose language these have told."""
        self.heard.clear()
        sounds = [value.values.to_numpy() for value in column]
        pieces = [
            Piece(row, number, self.num_samples, sound[start:end], start)
            for row, sound in enumerate(sounds)
            for number, (start, end) in enumerate(windows(sound, self.num_samples))
        ]
        yield [piece for piece in pieces if piece.number == 0]
        yield [piece for piece in pieces if piece.number > 0]

    def prepare(self, pieces: Sequence[Piece]) -> tuple[Tensor, ...]:
        """Sounds (B, T) float32, and the tokens of their languages, (B,) int64, -1 where they are to be heard."""
        sounds = np.zeros((len(pieces), self.num_samples), dtype=np.float32)
        for row, piece in enumerate(pieces):
            sounds[row, : len(piece.content)] = piece.content
        chosen = (self.languages or {}).get(self.settings["language"] or "", UNKNOWN)
        languages = [self.heard.get(piece.row, chosen) for piece in pieces]
        return torch.from_numpy(sounds), torch.tensor(languages)

    def generate(self, *inputs: Tensor) -> Tensor:
        """Tokens with those that each transcript begins with."""
        sounds, languages = inputs
        search: dict[str, Any] = {}
        if self.languages is not None:
            search["task"] = self.settings["task"]
            if (languages >= 0).all():
                search["language"] = [self.names[number] for number in languages.tolist()]
        tokens: Tensor = self.network.model.generate(
            self.network.features(sounds),
            return_timestamps=self.settings["timestamps"],
            force_unique_generate_call=True,  # one window, and the tokens that it begins with
            **search,
        )
        return tokens

    def read(self, tokens: list[int], piece: Piece) -> Written:
        """What was written down."""
        start = next(
            (place for place, token in enumerate(tokens) if token not in self.beginnings),
            len(tokens),
        )
        prompt = tokens[:start]
        language = next((token for token in prompt if token in self.names), None)
        if language is not None:
            self.heard.setdefault(piece.row, language)
        return self.ending.written(tokens[start:], prompt)

    def columns(self, samples: Sequence[Sequence[tuple[Piece, Written]]]) -> dict[str, list[Any]]:
        """Transcripts of whole sounds, their languages, and the times of what was said where that is asked for."""
        columns: dict[str, list[Any]] = {
            TEXT: [
                "".join(self._text(each.tokens) for _, each in sample).strip() for sample in samples
            ],
            LANGUAGE: [self._language(sample[0][1]) for sample in samples],
            NUM_TOKENS: [sum(len(each.tokens) for _, each in sample) for sample in samples],
        }
        if self.settings["timestamps"]:
            columns[SEGMENTS] = [
                [segment for piece, each in sample for segment in self._segments(piece, each)]
                for sample in samples
            ]
        return columns

    def _language(self, first: Written) -> str | None:
        return next((self.names[token] for token in first.prompt if token in self.names), None)

    def _is_time(self, token: int) -> bool:
        return self.first_time is not None and token >= self.first_time

    def _text(self, tokens: Sequence[int]) -> str:
        said = [token for token in tokens if token not in self.special and not self._is_time(token)]
        text: str = self.tokenizer.decode(said) if said else ""
        return text

    def _segments(self, piece: Piece, written: Written) -> Iterator[dict[str, Any]]:
        """What lies between two times, in seconds of the whole sound."""
        first = piece.start / self.rate
        end = (piece.start + len(piece.content)) / self.rate
        start, said = first, list[int]()
        for token in written.tokens:
            if not self._is_time(token):
                said.append(token)
                continue
            assert self.first_time is not None
            time = min(end, first + STEP_SECONDS * (token - self.first_time))
            if text := self._text(said).strip():
                yield {"start": start, "end": time, "text": text}
            start, said = time, []
        if text := self._text(said).strip():
            yield {"start": start, "end": end, "text": text}
