"""What is read of shards before a training decodes them: headers, targets, and small members to learn from."""

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from support.tones import write_tar
from support.vectors import npy
from support.web_server import WebFolder, serve

from pipeline.config import ClusterConfig, Config
from pipeline.engine.executors import workplace as workplaces
from pipeline.engine.executors.workplace import Workplace
from pipeline.engine.plans import checks
from pipeline.engine.plans.prepare import ensure_tokenizer, plan_parts
from pipeline.engine.train.statistics import training_statistics
from pipeline.engine.train.survey import survey_parts, survey_splits
from pipeline.sample import Fault, Sample
from pipeline.shards.planning.plan import Part, expand, plan
from pipeline.shards.reading.reader import read_part
from pipeline.storage.source import JUMP_BYTES, SMALL_BYTES

SHARDS, SAMPLES = 2, 6
LARGE = 3 * JUMP_BYTES // 2


def write_shards(folder: Path, image_bytes: int) -> None:
    chance = np.random.default_rng(0)
    for shard in range(SHARDS):
        samples = {
            f"{shard}{at}": {
                "cls": b"ab"[at % 2 : at % 2 + 1],
                "npy": npy(chance.normal(size=4).astype(np.float32)),
                "png": chance.bytes(image_bytes),
                "txt": b"a word and another",
            }
            for at in range(SAMPLES)
        }
        write_tar(folder / f"x-{shard}.tar", samples)


@pytest.fixture
def web(tmp_path: Path) -> Iterator[WebFolder]:
    with serve(tmp_path / "web") as server:
        yield server


def config_of(run: Path, inputs: str) -> Config:
    return Config.model_validate(
        {
            "run": str(run),
            "input": {"train": inputs},
            "modalities": {"acc": {"kind": "vector", "shape": [4]}, "image": {}, "text": {}},
            "objective": {"kind": "classify"},
            "limits": {"isolate": False},
        }
    )


def served(web: WebFolder) -> int:
    number = sum(size for _, size in web.requests)
    web.requests.clear()
    return number


def test_before_decoding_no_large_member_is_read(web: WebFolder, tmp_path: Path) -> None:
    write_shards(web.folder, LARGE)
    size = sum(path.stat().st_size for path in web.folder.iterdir())
    config = config_of(tmp_path / "run", f"{web.url}/x-{{0..1}}.tar")
    headers = SHARDS * (SAMPLES + 2) * SMALL_BYTES  # a window after each jump, a double one before
    assert size > 15 * headers

    checks.check(config, checks.Needs({"input.train": "train"}, objective=True))
    assert served(web) <= headers
    parts = plan_parts(config, "train", "input.train", target=config.require_objective().targets())
    assert served(web) <= 3 * SMALL_BYTES  # until the second sample begins
    assert ensure_tokenizer(config, "train")
    assert served(web) <= headers
    survey = survey_parts(parts, config.require_objective(), config.limits)
    assert served(web) <= headers
    statistics = training_statistics(config, parts, None)
    assert served(web) <= headers

    number = SHARDS * SAMPLES
    assert survey.samples == survey.targets.count == number
    assert survey.fields == dict.fromkeys(("cls", "npy", "png", "txt"), number)
    assert statistics["acc"]["count"] == [number] * 4


def test_small_members_are_read_over_rather_than_jumped(web: WebFolder, tmp_path: Path) -> None:
    """Another request takes as long as JUMP_BYTES do."""
    write_shards(web.folder, JUMP_BYTES // 2)
    size = sum(path.stat().st_size for path in web.folder.iterdir())
    config = config_of(tmp_path / "run", f"{web.url}/x-{{0..1}}.tar")
    parts = plan(expand(f"{web.url}/x-{{0..1}}.tar"))
    assert survey_parts(parts, config.require_objective(), config.limits).samples
    assert len(web.requests) < SHARDS * SAMPLES
    assert served(web) <= size


def told(items: list[Sample | Fault]) -> list[object]:
    return [
        item
        if isinstance(item, Fault)
        else (item.key, item.ordinal, {name: (f.offset, f.size) for name, f in item.fields.items()})
        for item in items
    ]


@pytest.mark.parametrize("damage", [None, 700, 1024, 3000, -1500, -100])
@pytest.mark.parametrize("pack", ["tar", "tar.gz"])
def test_what_is_left_unread_changes_no_sample_and_no_fault(
    tmp_path: Path, damage: int | None, pack: str
) -> None:
    samples = {f"s{at}": {"cls": b"a", "png": bytes([at]) * 900} for at in range(4)}
    samples["s0 "] = {"link": b"", **samples["s1"]}
    path = write_tar(tmp_path / "x.tar", {**samples, "s5": {"cls": b"b", "txt": b"t"}})
    data = bytearray(path.read_bytes())
    if damage is not None:
        data[damage : damage + 300 if damage > 0 else None] = b"" if damage < 0 else b"\1" * 300
    path = path.with_name(f"x.{pack}")
    path.write_bytes(bytes(data) if pack == "tar" else __import__("gzip").compress(bytes(data)))
    part = Part(path.name, str(path), "")
    whole = list(read_part(part))
    spared = list(read_part(part, fields={"cls"}))
    assert told(spared) == told(whole)
    for one, other in zip(spared, whole, strict=True):
        if isinstance(one, Sample) and isinstance(other, Sample):
            assert bytes(one.fields["cls"].data) == bytes(other.fields["cls"].data)
            assert not any(f.data for name, f in one.fields.items() if name != "cls")


def test_surveys_come_in_order_and_a_wave_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workplaces, "WAVE", 4)
    monkeypatch.setattr(workplaces, "WAVE_A_CPU", 1)
    second_is_done = threading.Event()
    begun: list[int] = []

    def work(number: int) -> int:
        begun.append(number)
        if number == 0:
            assert second_is_done.wait(60)
        second_is_done.set()
        return number

    with Workplace(ClusterConfig(executor="here", num_cpus=2)) as workplace:
        for place, result in enumerate(workplace.in_order(work, range(10), "work")):
            assert result == place
            assert len(begun) <= 4 * (place // 4 + 1)


def test_workers_find_what_one_thread_finds(
    tmp_path: Path, workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_shards(tmp_path, 5000)
    config = config_of(tmp_path / "run", f"{tmp_path}/*.tar")
    parts = plan(expand(f"{tmp_path}/*.tar"), 20_000)
    monkeypatch.setattr(workplaces, "FEW_PARTS", 0)
    assert len(parts) > 2
    objective = config.require_objective()
    surveys = survey_splits({"train": parts}, objective, config.limits, workplace)
    assert surveys == {"train": survey_parts(parts, objective, config.limits)}
