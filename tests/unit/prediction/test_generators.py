"""Pretrained generators: texts as a plain loop of transformers writes them, whatever else is in a batch."""

from __future__ import annotations

import functools
import io
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
import transformers
from PIL import Image
from support import generators as small
from support.encoders import decode, embed, png, sample, save_clip, spec, tone

from pipeline.errors import ConfigError, ModelError
from pipeline.modalities.pretrained.generators.windows import padded_size, windows
from pipeline.modalities.pretrained.generators.writing import Piece, Written
from pipeline.prediction.generator.runner import micro_batches
from pipeline.prediction.generator.summary import summary
from pipeline.prediction.predictor import load_predictor
from pipeline.prediction.spec import open_model

TEXTS = [
    "a cat sits on the mat", "red dog", "", "song of the dog " * 9, "photo of red", "the loud blue song", "dog",
    "a quiet rug and a cat " * 4, "blue", "runs on the mat", "mat mat mat",
]  # fmt: skip
SECONDS = [0.4, 1.7, 0.03, 0.9, 3.2, 0.5, 1.0, 2.1, 0.31, 0.6, 1.2]
SAMPLES = [
    sample(f"k{i}", i, txt=TEXTS[i].encode(), png=png(i, 32, 32), wav=tone(i, SECONDS[i]))
    for i in range(len(TEXTS))
]
TOKENS = 9
ONE = {"audio": {}}, {"text": {}}, {"image": {"fields": ["png"]}}
Save = Callable[[Path], Path]
Plain = Callable[[Any, Path, dict[str, Any]], str]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folders of small models, each saved once."""
    savers: dict[str, Save] = {
        "t5": small.save_t5, "bart": small.save_bart, "marian": small.save_marian, "blip": small.save_blip,
        "llava": small.save_llava, "paligemma": small.save_paligemma,
        "vision": small.save_vision_encoder_decoder, "whisper": small.save_whisper,
        "english": lambda folder: small.save_whisper(folder, multilingual=False), "wav2vec2": small.save_ctc,
        "grouped": lambda folder: small.save_ctc(folder, norm="group"),
        "hubert": lambda folder: small.save_ctc(folder, kind="Hubert"),
    }  # fmt: skip
    folders: dict[str, Path] = {}

    def folder_of(name: str) -> Path:
        if name not in folders:
            folders[name] = savers[name](tmp_path_factory.mktemp(name))
        return folders[name]

    return folder_of


def written(
    folder: Path, settings: dict[str, Any], samples: list[Any] = SAMPLES, **how: Any
) -> pa.Table:
    return embed(spec(f"hf:{folder}", settings=settings, **how), samples)


@functools.cache
def loaded(folder: Path, kind: str) -> Any:
    """A part of a folder, as transformers reads it."""
    return getattr(transformers, kind).from_pretrained(folder)


def search(settings: dict[str, Any]) -> dict[str, Any]:
    return {name: settings[name] for name in ("max_new_tokens", "num_beams") if name in settings}


def plain_text(value: Any, folder: Path, settings: dict[str, Any]) -> str:
    model = loaded(folder, "AutoModelForSeq2SeqLM")
    tokenizer = loaded(folder, "AutoTokenizer")
    inputs = tokenizer(settings.get("prompt", "") + value, return_tensors="pt", truncation=True)
    ids = model.generate(**inputs, do_sample=False, **search(settings))
    return str(tokenizer.decode(ids[0], skip_special_tokens=True))


def plain_caption(value: Any, folder: Path, settings: dict[str, Any]) -> str:
    kind = json.loads((folder / "config.json").read_text())["architectures"][0]
    model = loaded(folder, kind)
    tokenizer = loaded(folder, "AutoTokenizer")
    processor = loaded(folder, "AutoImageProcessor")
    pixels = processor(Image.open(io.BytesIO(value)), return_tensors="pt")["pixel_values"]
    prompt = settings.get("prompt")
    given = tokenizer(prompt, return_tensors="pt") if prompt else {}
    ids = model.generate(pixel_values=pixels, do_sample=False, **given, **search(settings))
    return str(tokenizer.decode(ids[0], skip_special_tokens=True))


def plain_answer(value: Any, folder: Path, settings: dict[str, Any]) -> str:
    model = loaded(folder, "AutoModelForImageTextToText")
    processor = loaded(folder, "AutoProcessor")
    text = processor.image_token + settings["prompt"]
    if processor.chat_template:
        content = [{"type": "image"}, {"type": "text", "text": settings["prompt"]}]
        message = {"role": "user", "content": content}
        text = processor.apply_chat_template([message], add_generation_prompt=True)
    inputs = processor(images=Image.open(io.BytesIO(value)), text=text, return_tensors="pt")
    inputs.pop("labels", None)
    ids = model.generate(**inputs, do_sample=False, **search(settings))
    answer = ids[0, inputs["input_ids"].shape[1] :]
    return str(processor.decode(answer, skip_special_tokens=True))


def plain_whisper(value: Any, folder: Path, settings: dict[str, Any]) -> str:
    """Window by window; the language of the first is that of the others."""
    model = loaded(folder, "WhisperForConditionalGeneration")
    tokenizer = loaded(folder, "AutoTokenizer")
    extractor = loaded(folder, "AutoFeatureExtractor")
    texts, asked = [], {name: settings[name] for name in ("language", "task") if name in settings}
    sound = np.array(value, np.float32)
    for start, end in windows(sound, small.RATE * small.CHUNK_SECONDS):
        features = extractor(
            sound[start:end], sampling_rate=small.RATE, return_tensors="pt"
        ).input_features
        if "language" not in asked and hasattr(model.generation_config, "lang_to_id"):
            token = model.detect_language(features)[0].item()
            asked["language"] = tokenizer.convert_ids_to_tokens(token).strip("<|>")
            asked.setdefault("task", "transcribe")
        # One call a window: networks of random weights say times that they were not asked for, and would go on there.
        once = {"force_unique_generate_call": True, "do_sample": False}
        ids = model.generate(features, **once, **asked, **search(settings))
        texts.append(tokenizer.decode(ids[0], skip_special_tokens=True))
    return "".join(texts)


def plain_ctc(value: Any, folder: Path, settings: dict[str, Any]) -> str:
    model = loaded(folder, "AutoModelForCTC")
    tokenizer = loaded(folder, "AutoTokenizer")
    extractor = loaded(folder, "AutoFeatureExtractor")
    texts = []
    sound = np.array(value, np.float32)
    for start, end in windows(sound, round(settings.get("window_seconds", 30) * small.RATE)):
        inputs = extractor(sound[start:end], sampling_rate=small.RATE, return_tensors="pt")
        with torch.no_grad():
            ids = model(inputs.input_values).logits.argmax(-1)
        texts.append(tokenizer.decode(ids[0]))
    return " ".join(text.strip() for text in texts if text.strip())


BEAMS = {"max_new_tokens": TOKENS, "num_beams": 3}
GREEDY = {"max_new_tokens": TOKENS, "num_beams": 1}
CASES: dict[str, tuple[str, dict[str, Any], Plain]] = {
    "t5": ("t5", GREEDY, plain_text),
    "t5 with beams": ("t5", {**BEAMS, "prompt": "photo of "}, plain_text),
    "bart with beams": ("bart", BEAMS, plain_text),
    "marian": ("marian", GREEDY, plain_text),
    "blip": ("blip", GREEDY, plain_caption),
    "blip with a prompt": ("blip", {**BEAMS, "prompt": "a photo of"}, plain_caption),
    "llava": ("llava", {**GREEDY, "prompt": "a photo of"}, plain_answer),
    "paligemma": ("paligemma", {**BEAMS, "prompt": "a red dog"}, plain_answer),
    "vision": ("vision", GREEDY, plain_caption),
    "whisper": ("whisper", GREEDY, plain_whisper),
    "whisper in german": ("whisper", {**BEAMS, "language": "german"}, plain_whisper),
    "whisper in english": ("english", GREEDY, plain_whisper),
    "wav2vec2": ("wav2vec2", {"window_seconds": 1}, plain_ctc),
    "grouped": ("grouped", {}, plain_ctc),
    "hubert": ("hubert", {}, plain_ctc),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_texts_are_those_of_a_plain_loop(case: str, saved: Callable[[str], Path]) -> None:
    """One sample at a time there; here in micro-batches of several sizes, and in another order."""
    name, settings, plain = CASES[case]
    folder = saved(name)
    model = open_model(spec(f"hf:{folder}", settings=settings))
    column = model.fields[0].name
    [modality] = model.description.inputs  # type: ignore[union-attr]
    values: list[Any] = [each.fields["png"].data for each in SAMPLES]
    if modality != "image":
        values = decode(spec(f"hf:{folder}", settings=settings), SAMPLES)[modality].to_pylist()
    expected = [plain(value, folder, settings).strip() for value in values]
    assert len(set(expected)) >= 4, "texts that are all alike would show nothing"
    others = np.random.default_rng(3).permutation(len(SAMPLES))
    for batch_size, order in ((1, range(11)), (3, others), (8, range(11)), (64, others)):
        table = written(folder, settings, [SAMPLES[i] for i in order], batch_size=batch_size)
        assert table[column].to_pylist() == [expected[i] for i in order], batch_size


def test_the_small_whisper_hears_languages(saved: Callable[[str], Path]) -> None:
    """Without being told: the one of the first window, for the whole sound."""
    folder = saved("whisper")
    table = written(folder, {"max_new_tokens": 3})
    model = loaded(folder, "WhisperForConditionalGeneration")
    extractor = loaded(folder, "AutoFeatureExtractor")
    sounds = decode(spec(f"hf:{folder}"), SAMPLES)["audio"].to_pylist()
    names = {
        number: name.strip("<|>") for name, number in model.generation_config.lang_to_id.items()
    }
    for sound, language in zip(sounds, table["language"].to_pylist(), strict=True):
        [(start, end), *_] = windows(np.array(sound, np.float32), small.RATE)
        features = extractor(
            np.array(sound[start:end], np.float32), sampling_rate=small.RATE, return_tensors="pt"
        )
        assert language == names[model.detect_language(features.input_features)[0].item()]
    assert set(written(folder, {"language": "German"})["language"].to_pylist()) == {"de"}
    assert set(written(saved("english"), {})["language"].to_pylist()) == {None}


def test_later_windows_are_in_the_language_of_the_first(saved: Callable[[str], Path]) -> None:
    predictor: Any = load_predictor(spec(f"hf:{saved('whisper')}"))
    whisper = predictor.generator
    sound = np.zeros(20_000, np.float32)
    first, later = whisper.passes(pa.array([sound, sound], pa.large_list(pa.float32())))
    tokens = {code: token for token, code in whisper.names.items()}
    start = whisper.network.model.generation_config.decoder_start_token_id
    for piece, code in zip(first, ("de", "en"), strict=True):
        whisper.read([start, tokens[code], 0], piece)
    assert whisper.prepare(first[:1])[1].tolist() != [-1], "heard by now"
    pairs = zip(later, whisper.prepare(later)[1].tolist(), strict=True)
    assert {(piece.row, token) for piece, token in pairs} == {(0, tokens["de"]), (1, tokens["en"])}


def test_times_are_those_of_the_whole_sound(saved: Callable[[str], Path]) -> None:
    """By hand: what lies between two times, shifted by where a window begins."""
    predictor: Any = load_predictor(spec(f"hf:{saved('whisper')}", settings={"timestamps": True}))
    whisper = predictor.generator
    time = whisper.first_time
    first, second = np.zeros(8000, np.float32), np.zeros(4000, np.float32)
    tokens = [time, 0, 1, time + 10, time + 15, 2, time + 20], [3, time + 5, 4]
    pieces = (Piece(0, 0, 8000, first), Piece(0, 1, 8000, second, start=8000))
    columns = whisper.columns([[*zip(pieces, map(Written, tokens), strict=True)]])
    assert columns["transcript"] == ["abcde"]
    spans = [
        (round(each["start"], 3), round(each["end"], 3), each["text"])
        for each in columns["segments"][0]
    ]
    assert spans == [(0.0, 0.2, "ab"), (0.3, 0.4, "c"), (1.0, 1.1, "d"), (1.1, 1.5, "e")]
    table = written(saved("whisper"), {"timestamps": True, "max_new_tokens": TOKENS})
    for segments, seconds in zip(table["segments"].to_pylist(), SECONDS, strict=True):
        ends = [time for each in segments for time in (each["start"], each["end"])]
        assert ends == sorted(ends)
        assert not ends or 0 <= ends[0] <= ends[-1] <= seconds + 1e-3


def test_what_a_sample_lacks_is_null(saved: Callable[[str], Path]) -> None:
    samples = [
        SAMPLES[0], sample("no-text", 1, png=png(1)), sample("bad", 2, txt=b"\xff\xfe\x00"), SAMPLES[3],
        sample("none", 4, json=b"{}"),
    ]  # fmt: skip
    table = written(saved("t5"), GREEDY, samples)
    errors = [row and row["reason"] for row in table["error"].to_pylist()]
    assert errors == [None, None, "bad_text", None, "no_modality"]
    texts, counts = (table[name].to_pylist() for name in ("generated_text", "generated_tokens"))
    assert [text is None for text in texts] == [False, True, True, False, True]
    assert [count is None for count in counts] == [text is None for text in texts]
    whole = written(saved("t5"), GREEDY)["generated_text"].to_pylist()
    assert [texts[0], texts[3]] == [whole[0], whole[3]]
    assert written(saved("t5"), GREEDY, samples[1:2])["generated_text"].to_pylist() == [None]


def test_texts_that_are_cut_are_noted(saved: Callable[[str], Path]) -> None:
    """They have all tokens that they may have, and no end."""
    for name in ("t5", "whisper"):
        table = written(saved(name), GREEDY)
        model = open_model(spec(f"hf:{saved(name)}"))
        remarks = table["remarks"].to_pylist()
        noted = [bool(each) for each in remarks]
        assert {remark["reason"] for each in remarks for remark in each} == {"noted_cut_text"}
        whole = table["generated_tokens"].to_pylist()
        assert any(noted)
        if name == "t5":
            assert noted == [count == TOKENS for count in whole]
            assert not all(noted)
        longer = written(saved(name), {**GREEDY, "max_new_tokens": TOKENS + 2})
        column = model.fields[0].name
        for row, cut in enumerate(noted):
            if not cut:
                assert longer[column][row] == table[column][row]


def test_chance_is_off_and_the_folder_chooses_the_beams(
    tmp_path: Path, saved: Callable[[str], Path]
) -> None:
    search = {
        "do_sample": True,
        "temperature": 5.0,
        "top_k": 3,
        "num_beams": 3,
        "num_return_sequences": 2,
    }
    folder = small.save_t5(tmp_path, **search)
    table = written(folder, {"max_new_tokens": TOKENS})
    beams = written(saved("t5"), BEAMS)
    assert table["generated_text"].to_pylist() == beams["generated_text"].to_pylist()
    assert beams["generated_text"] != written(saved("t5"), GREEDY)["generated_text"]


def test_bfloat16_writes_texts(saved: Callable[[str], Path]) -> None:
    exact, rough = (
        written(saved("marian"), GREEDY, precision=each) for each in ("float32", "bfloat16")
    )
    assert exact.schema == rough.schema
    pairs = zip(
        exact["generated_text"].to_pylist(), rough["generated_text"].to_pylist(), strict=True
    )
    assert sum(left == right for left, right in pairs) > len(TEXTS) / 2


def test_a_fingerprint_is_of_files_and_settings(
    tmp_path: Path, saved: Callable[[str], Path]
) -> None:
    def fingerprint(folder: Path, **settings: Any) -> str:
        return open_model(spec(f"hf:{folder}", settings=settings)).fingerprint

    elsewhere = shutil.copytree(saved("t5"), tmp_path / "copy")
    same = fingerprint(saved("t5"))
    assert fingerprint(elsewhere) == same == fingerprint(elsewhere, num_beams=1, max_new_tokens=256)
    assert (
        len({same, fingerprint(elsewhere, num_beams=2), fingerprint(elsewhere, prompt="a ")}) == 3
    )
    search = elsewhere / "generation_config.json"
    search.write_text(json.dumps({**json.loads(search.read_text()), "length_penalty": 2.0}))
    assert fingerprint(elsewhere) != same
    described = open_model(spec(f"hf:{saved('t5')}", settings=GREEDY)).description
    with pytest.raises(ModelError, match="the weights are others"):
        written(
            elsewhere,
            GREEDY,
            description=described.__class__(**{**vars(described), "model": f"hf:{elsewhere}"}),
        )


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("t5", {"num_beam": 2}, "did you mean num_beams?"),
    ("t5", {"num_beams": 0}, "num_beams: input should be greater than or equal to 1"),
    ("t5", {"temperature": 0.5}, "unknown setting temperature"),
    ("bart", {"max_new_tokens": 64}, "the network writes at most 63 tokens"),
    ("whisper", {"max_new_tokens": 21}, "the network writes at most 20 tokens"),
    ("whisper", {"language": "Frensh"}, "knows no language Frensh | infer.settings.language | did you mean french?"),
    ("whisper", {"task": "sing"}, "input should be 'transcribe' or 'translate'"),
    ("english", {"language": "en"}, "the network has no languages to choose among | infer.settings.language"),
    ("vision", {"prompt": "a"}, "VisionEncoderDecoderModel takes no prompt"),
    ("llava", {}, "answers a prompt, and there is none | infer.settings.prompt | set it"),
    ("llava", {"prompt": "a dog " * 12}, "image and prompt take 43 tokens, and the network has 40"),
    ("paligemma", {"prompt": "a", "max_new_tokens": 40}, "the network writes at most 22 tokens"),
    ("hubert", {"num_beams": 2}, "unknown setting num_beams"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "settings", "words"), REFUSED)
def test_settings_that_there_are_not_are_refused(
    name: str, settings: dict[str, Any], words: str, saved: Callable[[str], Path]
) -> None:
    with pytest.raises(ConfigError) as caught:
        open_model(spec(f"hf:{saved(name)}", settings=settings))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


GONE = [
    (("tokenizer.json",), "the tokenizer cannot be read"),
    (
        ("tokenizer.json", "tokenizer_config.json"),
        "there is no tokenizer: none of tokenizer.json, vocab.txt",
    ),
    (("preprocessor_config.json",), "preprocessor_config.json cannot be read"),
    (("model.safetensors",), "the weights cannot be read"),
]


def broken(folder: Path, tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """Folders with something wrong, and what is said of it."""
    for number, (names, words) in enumerate(GONE):
        copy = shutil.copytree(folder, tmp_path / str(number))
        for name in names:
            (copy / name).unlink()
        yield copy, words
    copy = shutil.copytree(folder, tmp_path / "damaged")
    (copy / "config.json").write_text("{")
    yield copy, "not the JSON it should be"
    copy = shutil.copytree(folder, tmp_path / "other")
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(
        json.dumps({**config, "architectures": ["BlipForImageTextRetrieval"]})
    )
    yield copy, "models of the kind BlipForImageTextRetrieval are not known"


def test_folders_that_cannot_be_run_are_refused_in_one_line(
    tmp_path: Path, saved: Callable[[str], Path]
) -> None:
    for folder, words in broken(saved("blip"), tmp_path):
        with pytest.raises((ModelError, ConfigError)) as caught:
            written(folder, GREEDY if "other" not in folder.name else {})
        assert words in str(caught.value)
        assert "\n" not in str(caught.value)
    assert "WhisperForConditionalGeneration" in str(caught.value), "it says which there are"
    assert "clip" in str(caught.value)


def test_what_a_generator_does_not_take_is_refused(
    tmp_path: Path, saved: Callable[[str], Path]
) -> None:
    model = f"hf:{saved('t5')}"
    for settings, words in (
        ({"modalities": {"image": {"fields": ["png"]}}}, "takes text, and the configuration has image"),
        ({"modalities": {key: {"kind": "text", "fields": [key]} for key in "ab"}}, "a and b are text"),
        ({"weights": tmp_path}, "leave infer.weights out"),
        ({"compile": True}, "leave infer.compile out"),
    ):  # fmt: skip
        with pytest.raises(ConfigError) as caught:
            open_model(spec(model, **settings))
        assert words in str(caught.value)
    with pytest.raises(ConfigError, match="is an encoder, which has no settings"):
        open_model(spec(f"hf:{save_clip(tmp_path)}", settings={"num_beams": 2}))


def test_micro_batches_are_of_one_size() -> None:
    pieces = [Piece(row, 0, size, "x" * size) for row, size in enumerate([4, 2, 4, 8, 2, 4, 4])]
    batches = list(micro_batches(pieces, 2))
    assert [[piece.row for piece in batch] for batch in batches] == [[1, 4], [0, 2], [5, 6], [3]]


def test_windows_end_where_it_is_quiet() -> None:
    sound = np.ones(700, np.float32)
    assert windows(sound[:300], 300) == [(0, 300)]
    sound[270:280] = 0.1
    [(_, cut), *others] = windows(sound, 300)
    assert 270 <= cut <= 280
    assert [start for start, _ in others] == [end for _, end in [(0, cut), *others[:-1]]]
    assert others[-1][1] == 700
    assert max(end - start for start, end in windows(np.zeros(1001, np.float32), 10)) <= 10


def test_padded_sizes_are_few_and_long_enough() -> None:
    sizes = {padded_size(length, 4000, 240_000) for length in range(1, 240_001, 97)}
    assert len(sizes) <= 25
    assert all(
        length <= padded_size(length, 4000, 240_000) <= max(4000, 1.2 * length)
        for length in range(1, 240_001, 97)
    )


def test_nights_are_compared_by_lengths_and_by_what_is_empty() -> None:
    table = pa.table({"caption": ["", "ab", "abc", None, "a" * 100_000]})
    sums = summary(table, "caption")
    assert sums["characters"][0] == 1
    assert sums["characters"][2] == 2
    assert sums["characters"][15] == 1
    assert sums["texts"] == {"written": 3, "empty": 1, "none": 1}
