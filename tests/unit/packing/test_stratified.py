"""Stratified splits of tables and folders, whichever way the label is given."""

import json
from collections import Counter

import pytest
from packed import pack, split_of_keys

from pipeline.objectives.classify.labels import ClassTarget
from pipeline.packing.reading import Reading

HALVES = {"a": 0.5, "b": 0.5}


def rows(number=40):
    """A quarter of them are rare; each person has two samples of one class."""
    return [
        {"t": f"text {i}", "kind": "rare" if i % 8 < 2 else "usual", "person": f"p{i // 2}"}
        for i in range(number)
    ]


@pytest.mark.parametrize("how", ["cls", "json", "column of another name"])
def test_classes_are_spread_alike(tmp_path, how):
    lines = [json.dumps(row | {"m": {"kind": row["kind"]}}) + "\n" for row in rows()]
    (tmp_path / "t.jsonl").write_text("".join(lines))
    columns, label = {
        "cls": ({"cls": "kind"}, None),
        "json": ({"json": "m"}, "json.kind"),
        "column of another name": ({"kind": "kind"}, "kind"),
    }[how]
    settings = {"columns": {"txt": "t", **columns}, "split": HALVES}
    reading = Reading(target=label and ClassTarget(label))
    result = pack(
        tmp_path / "t.jsonl", tmp_path / "out", reading=reading, stratify=True, **settings
    )
    for split in result.splits.values():
        assert split.classes == {"rare": 5, "usual": 15}
    result = pack(tmp_path / "t.jsonl", tmp_path / "hash", reading=reading, **settings)
    assert [split.classes for split in result.splits.values()] != [{"rare": 5, "usual": 15}] * 2


def test_groups_stay_together_and_are_spread_alike(tmp_path):
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows()))
    columns = {"txt": "t", "cls": "kind"}
    result = pack(tmp_path / "t.jsonl", tmp_path / "out", columns=columns, split=HALVES,
                  group="person", stratify=True)  # fmt: skip
    splits = split_of_keys(tmp_path / "out")
    assert all(splits[f"{i:08d}"] == splits[f"{i + 1:08d}"] for i in range(0, 40, 2))
    for split in result.splits.values():
        assert abs(split.classes["rare"] - 5) <= 1


def test_folders_of_classes_and_label_files(tmp_path):
    for kind, number in (("cat", 12), ("dog", 4)):
        (tmp_path / "in" / kind).mkdir(parents=True)
        for i in range(number):
            (tmp_path / "in" / kind / f"{i}.txt").write_text("x")
            (tmp_path / "in" / kind / f"{i}.cls").write_text(f"{kind}\n")
    result = pack(tmp_path / "in", tmp_path / "out", split=HALVES, stratify=True)
    assert [Counter(split.classes) for split in result.splits.values()] == [
        {"cat": 6, "dog": 2}
    ] * 2
    for path in (tmp_path / "in").rglob("*.cls"):
        path.unlink()
    result = pack(tmp_path / "in", tmp_path / "by", split=HALVES, stratify=True, label="folder")
    assert [Counter(split.classes) for split in result.splits.values()] == [
        {"cat": 6, "dog": 2}
    ] * 2
