"""A codec names what its decoding imports, so that no import falls under the limit of memory of a member."""

from __future__ import annotations

import base64
import io
import json
import pickle
import subprocess
import sys

import numpy as np
import soundfile
from PIL import Image
from support.clips import clip, sounding
from support.pictures import encoded
from support.tones import wav
from support.vectors import npy, wave

from pipeline.engine.decoding.isolated import _modules_of
from pipeline.modalities import ModalitiesConfig, kinds
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.modalities.text.codec import train_tokenizer

SETTINGS = {
    "image": {"fields": ["png", "jpg", "webp", "tif", "gif", "bmp"], "size": 32},
    "text": {"max_tokens": 8, "vocab_size": 300},
    "audio": {"fields": ["wav", "flac", "mp4"], "sample_rate_hz": 8000, "max_seconds": 0.5},
    "video": {"size": 16, "frames": 4},
    "vector": {"fields": ["npy", "json"], "shape": [64, 2]},
}
PROGRAM = """
import base64, importlib, json, os, pickle, sys
for line in sys.stdin:
    codec, fields, members = pickle.loads(base64.b64decode(line))
    ours, theirs = os.pipe()
    if os.fork() == 0:
        for name in codec.modules(fields):
            importlib.import_module(name)
        before = set(sys.modules)
        for field, data in members:
            codec.decode(memoryview(data), field)
        os.write(theirs, json.dumps(sorted(set(sys.modules) - before)).encode())
        os._exit(0)
    os.close(theirs)
    with open(ours) as answer:
        print(answer.read(), flush=True)
    os.wait()
"""


def members(kind: str) -> list[tuple[str, bytes]]:
    """Members of every sort that libraries of their own are imported for."""
    if kind == "image":
        image = Image.new("RGB", (40, 40), (200, 30, 30))
        names = {"jpg": "JPEG", "tif": "TIFF"}
        forms = SETTINGS[kind]["fields"]
        return [(form, bytes(encoded(image, names.get(form, form.upper())))) for form in forms]
    if kind == "audio":
        flac = io.BytesIO()
        soundfile.write(flac, np.zeros(9000), 16000, format="FLAC")
        return [("wav", wav(rate=16000)), ("flac", flac.getvalue()), ("mp4", sounding("mp4"))]
    if kind == "video":
        return [("mp4", clip("mp4")), ("webm", clip("webm"))]
    if kind == "text":
        return [("txt", b"a tone")]
    return [("npy", npy(wave(3, 0))), ("json", json.dumps(wave(3, 0).tolist()).encode())]


def test_decoding_imports_nothing_that_its_codec_has_not_named() -> None:
    lines = []
    for kind in kinds():
        section = ModalitiesConfig.model_validate({kind: SETTINGS[kind]}).by_name()[kind]
        codec = section.codec(train_tokenizer(["a tone"], 300))
        request = pickle.dumps((codec, section.fields, members(kind)))
        lines.append(base64.b64encode(request).decode())
    program = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        input="\n".join(lines), capture_output=True, text=True, check=True,
    )  # fmt: skip
    late = dict(zip(kinds(), map(json.loads, program.stdout.splitlines()), strict=True))
    assert late == {kind: [] for kind in kinds()}


def test_what_a_codec_names_is_imported_before_the_limit_of_memory_holds() -> None:
    modalities = ModalitiesConfig.model_validate({"video": {"size": 16}, "audio": {}, "image": {}})
    decoder = Decoder.build(modalities, None)
    for name, codec in decoder.codecs.items():
        assert set(codec.modules(decoder.fields[name])) < set(_modules_of(decoder))
    assert "av" not in decoder.codecs["audio"].modules(["wav", "flac"]), "of films alone"
