"""What the measurements come to: rates, ratios within rounds, and the figures that are wanted."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bench.peers.configurations import WARM, Configuration

Run = Mapping[str, Any]  # what measure() found, with ``samples``; see bench.ingest
HERE = "here"
OURS = (
    "batches"  # what peers are compared with: decoded batches that reach a consumer, as theirs do
)
FLAT = ("job-quarter", "job", "job-x4", "job-x8", "job-big-tar")


class Results:
    """All single values: of each configuration one run a round, or None where it failed or was left out."""

    def __init__(self, rounds: list[dict[str, Run]]) -> None:
        self.rounds = rounds

    def each(self, value: Callable[[Mapping[str, Run]], float]) -> list[float]:
        """A value from every round that has all it needs."""
        found = []
        for runs in self.rounds:
            try:
                found.append(value(runs))
            except (KeyError, ZeroDivisionError):
                continue
        return found

    def of(self, name: str, value: Callable[[Run], float]) -> list[float]:
        """A value of one configuration from every round."""
        return self.each(lambda runs: value(runs[name]))


def cold(run: Run) -> float:
    """Samples a second of the whole process."""
    return float(run["samples"] / run["wall_seconds"])


def inside(run: Run) -> float:
    """Samples a second of the last pass, start-up left out."""
    return float(run["samples"] / run["answer"]["seconds"][-1])


def answered(run: Run) -> float:
    """Samples a second that a job says it did, start-up left out."""
    return float(run["answer"]["samples_per_second"])


def marginal(small: Run, large: Run) -> float:
    """Samples a second that more samples are done at."""
    more = large["samples"] - small["samples"]
    return float(more / (large["wall_seconds"] - small["wall_seconds"]))


def cpu_per_thousand(run: Run) -> float:
    """CPU seconds of the whole tree, of 1,000 samples; of the bare processes without their start and first shard."""
    seconds = run["answer"].get("decode_cpu_seconds", run["cpu_seconds"])
    return float(1000 * seconds / run["samples"] / run["passes"])


def peak(run: Run) -> float:
    """Peak memory in GB."""
    return float(run["peak_gb"])


@dataclass(frozen=True)
class Goal:
    """A figure that is wanted.

    Attributes:
        about: What it is.
        value: Of one round.
        wanted: The bound.
        at_most: Whether it is an upper one.
    """

    about: str
    value: Callable[[Mapping[str, Run]], float]
    wanted: float
    at_most: bool = False

    def judge(self, results: Results) -> dict[str, Any]:
        """The median of the rounds, and whether it is good enough; None where nothing was measured."""
        found = results.each(self.value)
        middle = statistics.median(found) if found else None
        reached = None
        if middle is not None:
            reached = middle <= self.wanted if self.at_most else middle >= self.wanted
        return {
            "about": self.about,
            "wanted": ("<= " if self.at_most else ">= ") + f"{self.wanted:g}",
            "median": middle,
            "values": found,
            "reached": reached,
        }


def goals() -> Iterator[Goal]:
    """The figures that are wanted, each as a ratio."""
    yield Goal(
        "job, marginal rate (x4 against x1) / two bare processes with our Decoder",
        lambda r: marginal(r["job"], r["job-x4"]) / inside(r["bare-x4"]),
        0.92,
    )
    yield Goal(
        "job, whole cold run of x4 / two bare processes with our Decoder, their start left out",
        lambda r: cold(r["job-x4"]) / inside(r["bare-x4"]),
        0.75,
    )
    yield Goal(
        "job, whole cold run of x4 / whole cold run of two bare processes",
        lambda r: cold(r["job-x4"]) / cold(r["bare-x4"]),
        0.75,
    )
    yield Goal(
        "batches, marginal rate (x4 against x1) / two bare processes with our Decoder",
        lambda r: marginal(r[OURS], r[f"{OURS}-x4"]) / inside(r["bare-x4"]),
        0.92,
    )
    yield from _here()
    yield from _against("ray", "Ray Data as documented", cold_wanted=3.0, warm_wanted=4.0)
    yield from _against("ray-equal", "Ray Data, our kernels", cold_wanted=2.2, warm_wanted=2.2)
    yield from _against("daft", "Daft, conventional", cold_wanted=2.5, warm_wanted=2.5)
    yield from _against(
        "daft-mixed", "Daft, our sounds and texts", cold_wanted=1.6, warm_wanted=1.6
    )
    yield from _against("daft-equal", "Daft, our kernels", cold_wanted=1.6, warm_wanted=1.6)
    yield from _against("webdataset", "webdataset, conventional", cold_wanted=2.4, warm_wanted=2.4)
    yield from _against(
        "webdataset-equal", "webdataset, our kernels", cold_wanted=1.25, warm_wanted=1.25
    )
    yield from _parquet()
    yield Goal(
        "job, seconds of one tar / of eight tars",
        lambda r: r["job-one-tar"]["wall_seconds"] / r["job"]["wall_seconds"],
        1.15,
        at_most=True,
    )
    for name in ("job", OURS):
        yield Goal(
            f"peak memory, {name} / Ray Data as documented",
            lambda r, name=name: peak(r[name]) / peak(r["ray"]),
            0.5,
            at_most=True,
        )
    yield Goal(
        "peak memory of the job, largest / smallest of five sizes",
        lambda r: max(peak(r[name]) for name in FLAT) / min(peak(r[name]) for name in FLAT),
        1.1,
        at_most=True,
    )
    yield Goal(
        "job, rate from S3 / from disk, start-up left out, a core left to the server",
        lambda r: answered(r["job-s3"]) / answered(r["job-spare"]),
        0.7,
    )
    yield Goal(
        "job, rate of x4 with isolated decoders / without, start-up left out",
        lambda r: answered(r["job-x4"]) / answered(r["job-shared-x4"]),
        0.97,
    )


def _against(name: str, about: str, *, cold_wanted: float, warm_wanted: float) -> Iterator[Goal]:
    yield Goal(
        f"batches / {about}, whole cold run", lambda r: cold(r[OURS]) / cold(r[name]), cold_wanted
    )
    yield Goal(
        f"batches / {about}, warm",
        lambda r: inside(r[OURS + WARM]) / inside(r[name + WARM]),
        warm_wanted,
    )


def _here() -> Iterator[Goal]:
    """The hand-over without Ray, against what a user would write without this project."""
    loader, about = "webdataset-equal", "webdataset + DataLoader, our kernels"
    yield Goal(f"here / {about}, whole cold run", lambda r: cold(r[HERE]) / cold(r[loader]), 1.0)
    yield Goal(
        f"here / {about}, warm",
        lambda r: inside(r[HERE + WARM]) / inside(r[loader + WARM]),
        1.0,
    )
    yield Goal(
        "here, warm / two bare processes with our Decoder",
        lambda r: inside(r[HERE + WARM]) / inside(r["bare"]),
        0.95,
    )
    yield Goal(
        "here, seconds to the first batch, of 2",
        lambda r: r[HERE]["answer"]["first_seconds"] / 2,
        1.0,
        at_most=True,
    )
    yield Goal(
        f"peak memory, here / {about}",
        lambda r: peak(r[HERE]) / peak(r[loader]),
        1.0,
        at_most=True,
    )


def _parquet() -> Iterator[Goal]:
    for limit, about in (
        ("write-limit", "two bare processes that write, uncompressed"),
        ("write-limit-ours", "two bare processes that write as our sink does"),
    ):
        yield Goal(
            f"job to Parquet, marginal rate / {about}",
            lambda r, limit=limit: marginal(r["write-job"], r["write-job-x4"]) / inside(r[limit]),
            0.85,
        )
        yield Goal(
            f"job to Parquet, whole cold run of x4 / {about}",
            lambda r, limit=limit: cold(r["write-job-x4"]) / inside(r[limit]),
            0.85,
        )


def tables(results: Results, known: list[Configuration]) -> Iterator[str]:
    """The lines of the tables: one for each configuration and its warm twin."""
    by_name = {each.name: each for each in known}
    for group in dict.fromkeys(each.group for each in known):
        yield ""
        yield (
            f"{group:<48}{'samples':>8}{'cold/s (min-max)':>20}{'warm/s (min-max)':>20}"
            f"{'CPU-s':>7}{'GB':>6}{'first s':>9}{'bare':>6}{'limit':>6}"
        )
        for each in by_name.values():
            if each.group == group and not (each.name.endswith(WARM) and _cold_of(each) in by_name):
                yield _line(results, each)


def _line(results: Results, each: Configuration) -> str:
    name, warm_name = each.name, each.name + WARM
    samples = results.of(name, lambda run: run["samples"])
    if not samples:
        return f"{each.about:<48}{'failed or left out':>8}"
    is_limit = "limit" in name or "bare" in name
    warm = results.of(name if is_limit else warm_name, inside)
    best = warm or results.of(name, cold)
    first = results.of(name, lambda run: run["answer"]["first_seconds"])
    return (
        f"{each.about:<48}{samples[0]:>8.0f}{_spread(results.of(name, cold)):>20}{_spread(warm):>20}"
        f"{_middle(results.of(name, cpu_per_thousand), 2):>7}{_middle(results.of(name, peak), 2):>6}"
        f"{_middle(first, 1):>9}"
        f"{_share(best, results.of('bare', inside)):>6}{_share(best, results.of('limit', inside)):>6}"
    )


def markdown(results: Results, known: list[Configuration], about: str) -> Iterator[str]:
    """A table for a page: decoded batches that reach a consumer, ours and those of all that hand over the same.

    Args:
        results: Of several rounds.
        known: What was measured.
        about: Machine and commit.
    """
    yield f"Median of {len(results.rounds)} rounds (least-most), {about}. Ratios are of one round."
    yield ""
    yield (
        "| decoded batches handed to a consumer | samples/s cold | warm | CPU-s per 1,000 | GB "
        "| ours / this, cold | warm |"
    )
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    rows = [each for each in known if each.name == OURS or each.group in ("limit", "peers")]
    rows = [each for each in rows if each.share == 1 and not each.name.endswith(WARM)]
    for each in sorted(rows, key=lambda each: (each.name != OURS, each.group, each.name)):
        name, twin = each.name, each.name if each.group == "limit" else each.name + WARM
        cells = [
            _spread(results.of(name, cold)),
            _spread(results.of(twin, inside)),
            _middle(results.of(name, cpu_per_thousand), 1),
            _middle(results.of(name, peak), 1),
            *("", ""),
        ]
        if name != OURS:
            cells[-2] = _spread(_ratios(results, name, cold), 2)
            cells[-1] = _spread(_warm_ratios(results, twin), 2)
        yield f"| {each.about} | {' | '.join(cells)} |"


def _ratios(results: Results, name: str, value: Callable[[Run], float]) -> list[float]:
    """How many times as fast ours is, in each round that has both."""
    return results.each(lambda r: value(r[OURS]) / value(r[name]))


def _warm_ratios(results: Results, twin: str) -> list[float]:
    return results.each(lambda r: inside(r[OURS + WARM]) / inside(r[twin]))


def _cold_of(each: Configuration) -> str:
    return each.name.removesuffix(WARM)


def _spread(values: list[float], digits: int = 0) -> str:
    if not values:
        return "-"
    middle, least, most = (
        f"{value:.{digits}f}" for value in (statistics.median(values), min(values), max(values))
    )
    return f"{middle} ({least}-{most})"


def _middle(values: list[float], digits: int) -> str:
    return f"{statistics.median(values):.{digits}f}" if values else "-"


def _share(values: list[float], of: list[float]) -> str:
    return f"{statistics.median(values) / statistics.median(of):.2f}" if values and of else "-"
