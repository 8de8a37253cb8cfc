"""A believable report: real digits, real telephone tones, and a classifier with realistic errors."""

from __future__ import annotations

import io
import wave
from dataclasses import replace

import numpy as np
from PIL import Image

from pipeline.metrics.evaluation import compare_model, evaluate_predictions
from pipeline.modalities.shown import Shown
from pipeline.objectives.classify.section import ClassSection
from pipeline.reports.content import Example, QuarantineRow, ReportData, SplitCounts

CLASSES = tuple("0123456789")
MODALITIES = ("image", "text", "audio")
SUBSETS = (
    "image",
    "text",
    "audio",
    "image+text",
    "image+audio",
    "text+audio",
    "image+text+audio",
)
# Evidence for the right class: of a model of all modalities, and of models trained on one alone.
SKILL = {"image": 4.2, "text": 3.6, "audio": 3.4}
WORDS = {
    "en": ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"],
    "zh": list("零一二三四五六七八九"),
    "de": ["null", "eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun"],
    "ar": ["صفر", "واحد", "اثنان", "ثلاثة", "أربعة", "خمسة", "ستة", "سبعة", "ثمانية", "تسعة"],
}
SENTENCES = {
    "en": "The number written here is {}.",
    "zh": "这里写的数字是{}。",
    "de": "Die Zahl hier ist {}.",
    "ar": "الرقم المكتوب هنا هو {}.",
}
# Rows and columns of a telephone's keypad, in Hz (ITU-T Q.23).
ROWS, COLUMNS = (697, 770, 852, 941), (1209, 1336, 1477)


def make_report_data(num_samples: int = 540, num_examples: int = 30, seed: int = 7) -> ReportData:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 10, num_samples)
    present = {name: rng.random(num_samples) < 0.93 for name in MODALITIES}
    evidence = {name: _evidence(rng, labels, SKILL[name]) for name in MODALITIES}
    probabilities = {}
    for subset in SUBSETS:
        logits = sum(
            np.where(present[name][:, None], evidence[name], 0) for name in subset.split("+")
        )
        probabilities[subset] = _softmax(0.85 * logits)
    evaluation = evaluate_predictions(CLASSES, labels, probabilities, present, seed=seed)
    comparison = []
    for name in MODALITIES:
        rows = present[name]
        alone = _softmax(evidence[name] + rng.normal(0, 0.4, (num_samples, 10)))[rows]
        comparison.append(
            compare_model(f"{name} alone", [name], CLASSES, labels[rows], alone, seed=seed)
        )
    full = probabilities["image+text+audio"]
    wrong = np.flatnonzero(full.argmax(axis=1) != labels)[: num_examples // 3]
    right = np.flatnonzero(full.argmax(axis=1) == labels)[: num_examples // 2 - 1]
    plain = np.arange(num_examples - len(wrong) - len(right)) + num_samples - 40
    examples = [_example(rng, i, labels[i], present, full[i]) for i in (*wrong, *right)]
    examples += [_example(rng, i, labels[i], present, None) for i in plain]
    return ReportData(
        title="runs/demo",
        generated="2026-03-02 14:05 UTC",
        config_path="jobs/configs/demo.yaml",
        summary={"seconds": 142.7, "samples_read": 5391, "samples_quarantined": 6},
        splits=_splits(rng),
        quarantine=_quarantine(),
        examples=examples,
        history=_history(rng),
        section=ClassSection(),
        evaluation=replace(evaluation, comparison=tuple(comparison)),
        config_yaml="run: runs/demo\ntrain:\n  epochs: 8\n  batch_size: 64\n  seed: 7\n",
        environment={"python": "3.11.7", "ray": "2.60.0", "machine": "2 cores, 8 GB, no GPU"},
    )


def _evidence(rng, labels, skill):
    """(N, 10) logits; a third of the samples are degraded and say next to nothing."""
    logits = rng.normal(0, 1.0, (len(labels), 10))
    degraded = rng.random(len(labels)) < 0.35
    logits[np.arange(len(labels)), labels] += np.where(degraded, 0.3, skill)
    return logits


def _softmax(logits):
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)


def _example(rng, index, label, present, probabilities):
    language = list(SENTENCES)[index % len(SENTENCES)]
    sentence = SENTENCES[language].format(WORDS[language][label])
    by_class = (
        None
        if probabilities is None
        else dict(zip(CLASSES, map(float, probabilities), strict=True))
    )
    prediction = None if by_class is None else max(by_class, key=by_class.get)
    media = {}
    if present["text"][index]:
        media["text"] = Shown("text", sentence)
    if present["image"][index]:
        media["image"] = Shown("picture", digit_png(int(label), int(index)))
    if present["audio"][index]:
        media["audio"] = Shown("sound", tone_wav(int(label), rng))
    return Example(
        key=f"digit-{index:05d}",
        shard=f"demo-test-{index % 3:06d}.tar",
        split="test",
        label=CLASSES[label],
        shown=media,
        prediction=prediction,
        score=None if by_class is None else by_class[prediction],
        probabilities=by_class or {},
    )


def digit_png(label, index):
    from sklearn.datasets import load_digits

    digits = load_digits()
    chosen = digits.images[np.flatnonzero(digits.target == label)[index % 100]]
    image = Image.fromarray((chosen * 15.9375).astype(np.uint8)).resize((64, 64), Image.BICUBIC)
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "PNG")
    return buffer.getvalue()


def tone_wav(label, rng, rate=16000, seconds=0.6):
    """The keypad tone of a digit with a little noise: mono, 16 bit."""
    place = 10 if label == 0 else label - 1
    time = np.arange(int(rate * seconds)) / rate
    tone = np.sin(2 * np.pi * ROWS[place // 3] * time) + np.sin(
        2 * np.pi * COLUMNS[place % 3] * time
    )
    sound = (0.3 * tone + 0.03 * rng.normal(size=len(time))) * np.minimum(1, 20 * time)
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((32000 * np.clip(sound, -1, 1)).astype("<i2").tobytes())
    return buffer.getvalue()


def _splits(rng):
    sizes = {"train": 4310, "val": 541, "test": 540}
    return {
        name: SplitCounts(
            num_samples=size,
            labels=dict(zip(CLASSES, map(int, rng.multinomial(size, [0.1] * 10)), strict=True)),
            modalities={m: int(rng.binomial(size, 0.93)) for m in MODALITIES},
        )
        for name, size in sizes.items()
    }


def _quarantine():
    rows = [
        ("digit-00017", "jpg", "bad_image", "JPEG ends early (4096 bytes)"),
        ("digit-00311", "wav", "bad_audio", "no audio frames"),
        ("digit-01200", "txt", "bad_text", "not UTF-8 at byte 14"),
        ("digit-01200", "", "duplicate_key", "an earlier sample has this key"),
        ("digit-02044", "jpg", "bad_image", "unknown image format"),
        (None, "", "missing_end", "no end-of-archive marker"),
    ]
    return [
        QuarantineRow("demo-train-000001.tar", key=key, field=f, reason=r, detail=d)
        for key, f, r, d in rows
    ]


def _history(rng, epochs=8):
    rows = []
    for epoch in range(1, epochs + 1):
        loss = 2.2 * np.exp(-epoch / 2.6) + 0.12
        rows.append(
            {
                "epoch": epoch,
                "step": 68 * epoch,
                "train_loss": float(loss + rng.normal(0, 0.02)),
                "train_accuracy": float(1 - 0.33 * loss + rng.normal(0, 0.005)),
                "val_loss": float(1.05 * loss + 0.03 + rng.normal(0, 0.03)),
                "val_accuracy": float(1 - 0.36 * loss + rng.normal(0, 0.008)),
                "learning_rate": float(5e-4 * (1 + np.cos(np.pi * epoch / epochs))),
                "seconds": float(9.5 + rng.normal(0, 0.2)),
                "samples_per_second": float(454 + rng.normal(0, 6)),
            }
        )
    return rows
