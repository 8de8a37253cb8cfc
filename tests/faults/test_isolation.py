"""Decoders that crash, hang or eat memory cost one sample each, and nothing else."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
from support.children import children, fork_servers
from support.evil import KILLERS, evil_decoder
from support.tones import write_tar

from pipeline.config import Config
from pipeline.engine.decoding import isolated
from pipeline.engine.decoding.isolated import decode_here
from pipeline.engine.decoding.part import decode_part
from pipeline.errors import InputError, SampleError
from pipeline.isolation.guard import Death, learn
from pipeline.isolation.journal import Entry
from pipeline.limits import Limits
from pipeline.modalities.decoding.watch import Care
from pipeline.modalities.shown import Shown
from pipeline.sample import Sample
from pipeline.settings import settings
from pipeline.shards.planning.plan import Part, expand, plan
from pipeline.shards.reading.reader import read_part

REASON = {"sleep": "decoder_timeout", "spin": "decoder_timeout", "eat": "decoder_memory"}
REASON |= {"grab": "decoder_memory"}
SETTING = {
    "decoder_timeout": "limits.decode_seconds",
    "decoder_memory": "limits.decode_memory_bytes",
    "decoder_crashed": "input.on_bad_field",
}


def shard(folder: Path, words: dict[int, dict[str, str]], count: int = 150) -> Part:
    """A shard of samples whose fields say their own ordinal, except where ``words`` say otherwise."""
    samples = {
        f"s{ordinal:04}": {
            name: words.get(ordinal, {}).get(name, str(ordinal)).encode() for name in ("img", "snd")
        }
        for ordinal in range(count)
    }
    write_tar(folder / "x.tar", samples)
    return plan(expand(str(folder / "x.tar")))[0]


def values(row: dict) -> tuple:
    return row["key"], row["image"], row["audio"]


@pytest.mark.parametrize("killer", KILLERS)
def test_a_killer_costs_only_itself(tmp_path: Path, killer: str) -> None:
    part = shard(tmp_path, {70: {"img": killer}, 71: {"snd": "bad"}})
    hangs = REASON.get(killer) == "decoder_timeout"
    rows = decode_part(part, evil_decoder(0.5 if hangs else 30)).to_pylist()
    bad = {row["ordinal"]: row["error"] for row in rows if row["error"]}
    assert {ordinal: error["reason"] for ordinal, error in bad.items()} == {
        70: REASON.get(killer, "decoder_crashed"),
        71: "bad_image",
    }
    assert bad[70]["setting"] == SETTING[bad[70]["reason"]]
    assert bad[70]["setting"] in [path for path, _, _ in settings(Config)]
    assert bad[70]["field"] == "img"
    assert bad[70]["size"] == len(killer)
    good = [row for row in rows if not row["error"]]
    assert [values(row) for row in good] == [
        (f"s{ordinal:04}", [float(ordinal)] * 4, [float(ordinal)] * 4)
        for ordinal in range(150)
        if ordinal not in (70, 71)
    ]


def test_several_killers_in_one_part(tmp_path: Path) -> None:
    words = {0: {"img": "segfault"}, 1: {"snd": "abort"}, 63: {"img": "exit", "snd": "exit"}}
    words |= {149: {"snd": "segfault"}}
    rows = decode_part(shard(tmp_path, words), evil_decoder()).to_pylist()
    assert [row["ordinal"] for row in rows] == list(range(150))
    assert {row["ordinal"]: row["error"]["field"] for row in rows if row["error"]} == {
        0: "img",
        1: "snd",
        63: "img",
        149: "snd",
    }


def test_a_killer_is_dropped_where_bad_fields_are(tmp_path: Path) -> None:
    words = {5: {"img": "abort"}, 6: {"img": "abort", "snd": "exit"}}
    rows = decode_part(
        shard(tmp_path, words, 10), evil_decoder(on_bad_field="drop", keep_bytes=True)
    ).to_pylist()
    assert rows[5]["error"] is None
    assert rows[5]["image"] is None
    assert rows[5]["modalities"] == ["audio"]
    assert [each["reason"] for each in rows[5]["dropped"]] == ["decoder_crashed"]
    assert rows[5]["dropped"][0]["bytes"] == b"abort"
    assert rows[6]["error"]["reason"] == "decoder_crashed"  # nothing was left of it
    assert rows[6]["dropped"] == []


def test_a_bug_is_raised_and_not_quarantined(tmp_path: Path) -> None:
    part = shard(tmp_path, {3: {"img": "bug"}}, 10)
    with pytest.raises(KeyError, match="a bug of the codec") as raised:
        decode_part(part, evil_decoder())
    assert "decode_each" in "".join(raised.value.__notes__)
    part = shard(tmp_path, {}, 10)
    assert decode_part(part, evil_decoder()).num_rows == 10  # and the next part is decoded


def test_isolated_rows_are_those_decoded_here(tmp_path: Path) -> None:
    part = shard(tmp_path, {3: {"img": "bad"}, 4: {"snd": "bad"}}, 700)
    decoder = evil_decoder()
    tables = [decode_part(part, decoder) for _ in range(6)]  # more than there are arenas
    assert all(table == decode_here(part, decoder) for table in tables)


def test_samples_are_tried_before_they_are_decoded_here(tmp_path: Path) -> None:
    part = shard(tmp_path, {2: {"img": "segfault"}, 4: {"img": "bad"}}, 6)
    samples = [item for item in read_part(part) if isinstance(item, Sample)]
    kept = isolated.harmless(evil_decoder(), samples)
    assert [sample.ordinal for sample in kept] == [0, 1, 3, 4, 5]


def test_what_cannot_be_shown_is_an_error_of_the_sample() -> None:
    assert isolated.show(evil_decoder(), "image", memoryview(b"17"), "img") == Shown("text", "17")
    with pytest.raises(SampleError, match="SIGSEGV"):
        isolated.show(evil_decoder(), "image", memoryview(b"segfault"), "img")


def test_a_shard_that_is_gone_is_said_to_be(tmp_path: Path) -> None:
    part = shard(tmp_path, {}, 10)
    (tmp_path / "x.tar").unlink()
    with pytest.raises(InputError, match=r"x\.tar"):
        decode_part(part, evil_decoder())


def _cut(request: Part, watch: object, care: Care) -> None:
    os.kill(os.getpid(), signal.SIGBUS)


def test_a_file_cut_while_it_is_mapped_does_not_end_the_worker(tmp_path: Path) -> None:
    """Reading behind the end of a mapped file is a bus error, which no Python code can catch."""
    part = shard(tmp_path, {2: {"img": "1" * 7}}, 3)
    guard = isolated.Guard(_cut, ("",), Limits())
    with pytest.raises(InputError, match=r"ended 3 times.*SIGBUS"):
        guard(part, detail="x.tar")
    guard.close()


T = TypeVar("T")
FROM_MAIN = """
from pipeline.engine.decoding.isolated import decode_isolated
decode_isolated(part, decoder)
"""
FROM_THREADS = """
from pipeline.engine.executors.base import Stage, handed_over
from pipeline.engine.executors.here import HereExecutor
with HereExecutor(num_cpus=2) as executor:
    list(executor.run([part], Stage("x", decoder, handed_over)))
"""


@pytest.mark.parametrize("program", [FROM_MAIN, FROM_THREADS])
def test_the_child_ends_with_its_parent(tmp_path: Path, program: str) -> None:
    """While it hangs, so that it would not notice by itself that nobody waits for its answer any more."""
    shard(tmp_path, {0: {"img": "sleep"}}, 3)
    code = (
        "import sys; sys.path.insert(0, 'tests')\n"
        "from support.evil import evil_decoder\n"
        "from pipeline.shards.planning.plan import expand, plan\n"
        f"part = plan(expand({str(tmp_path / 'x.tar')!r}))[0]\n"
        "decoder = evil_decoder(seconds=600)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code + program])
    child = _until(lambda: next(iter(children(parent.pid)), None))
    _until(lambda: _hangs(child))
    servers = fork_servers(parent.pid)
    assert servers
    parent.kill()
    parent.wait()
    _until(lambda: not any(map(_alive, [child, *servers])))


def _until(look: Callable[[], T | None], seconds: float = 60) -> T:
    """Waits for something to be there."""
    end = time.monotonic() + seconds
    while not (value := look()):
        assert time.monotonic() < end
        time.sleep(0.1)
    return value


def _hangs(pid: int) -> bool:
    """Whether it does nothing for two seconds."""
    for _ in range(20):
        time.sleep(0.1)
        if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "S":
            return False
    return True


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_learning_suspects_a_group_and_then_condemns_one() -> None:
    care = learn(Care(), Death("decoder_crashed", "x", Entry(9, "image", 4, 6)))
    assert care.suspects == {4, 5, 6}
    assert not care.condemned
    care = learn(care, Death("decoder_timeout", "y", Entry(2, "image", 5, 5)))
    assert [verdict.reason for verdict in care.condemned[5]] == ["decoder_timeout"]
    alone = learn(Care(), Death("decoder_crashed", "x", Entry(1, "audio", 8, 8)))
    assert alone.suspects == {8}  # tried a second time before it is left out
    assert not alone.condemned
    assert learn(care, Death("decoder_crashed", "x", Entry(0, None, 0, 0))) == care
