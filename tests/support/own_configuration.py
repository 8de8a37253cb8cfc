"""An objective and a modality that lie beside a configuration alone."""

from __future__ import annotations

import csv
import random
import shutil
from pathlib import Path

import support.own

# A package of its own name, so that nothing finds it but through the configuration's folder.
PACKAGE = "models_of_mine"
CLASSES = (f"{PACKAGE}.ordinal:OrdinalConfig", f"{PACKAGE}.bits:BitsConfig")
LEVELS = 4


def write_table(folder: Path, count: int = 240) -> Path:
    """A level is how many quarters of 64 bits are mostly ones; some samples lack the bits, some have bad ones."""
    chance = random.Random(3)
    path = folder / "table.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["id", "hex", "txt", "cls"])
        writer.writeheader()
        for index in range(count):
            level = index % LEVELS
            words = [
                chance.getrandbits(16) & chance.getrandbits(16) & chance.getrandbits(16)
                for _ in range(4)
            ]
            words = [
                word ^ 0xFFFF if quarter < level else word for quarter, word in enumerate(words)
            ]
            digits = "".join(f"{word:04x}" for word in words)
            row = {"id": f"s{index:03d}", "hex": digits, "txt": f"of level {level}", "cls": level}
            if index in (8, 16):
                row["hex"] = "no bits" if index == 8 else "ffff"
            elif index % 9 == 4:
                row["hex"] = ""
            writer.writerow(row)
    return path


def write_configuration(tmp_path: Path) -> Path:
    """A table, a configuration, and beside them the package of the classes that it names."""
    shutil.copytree(Path(support.own.__file__).parent, tmp_path / PACKAGE)
    path = tmp_path / "mine.yaml"
    path.write_text(
        f"""
run: {tmp_path}/run
input:
  train: {tmp_path}/shards/data-train-*.tar
  val: {tmp_path}/shards/data-val-*.tar
  test: {tmp_path}/shards/data-test-*.tar
modalities:
  code: {{kind: python, class: "{CLASSES[1]}", settings: {{length: 64}}}}
  text: {{max_tokens: 8, vocab_size: 300}}
pack: {{source: {write_table(tmp_path)}, output: {tmp_path}/shards, key: id, columns: {{hex: hex, txt: txt, cls: cls}}}}
objective: {{kind: python, class: "{CLASSES[0]}", settings: {{width: 32, fusion: {{kind: concat}}}}}}
train: {{epochs: 8, batch_size: 16, learning_rate: 3e-3, seed: 1}}
evaluate: {{num_bootstrap: 50}}
cluster: {{num_cpus: 1, executor: here}}
""",
        encoding="utf-8",
    )
    return path
