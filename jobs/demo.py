"""The whole path on a small real data set made on the spot: pack, train, infer, evaluate, report.

    python -m jobs.demo [CONFIG.yaml] [dotted.path=value ...] [--json] [--dry-run]

Beside the fusion model, one model is trained for each modality alone, with the same settings, to compare it with.
Steps that are done already are said and passed over.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs import _job, evaluate, infer, report, train
from pipeline import logs, runs, storage
from pipeline.config import SPLITS, Config, load, to_yaml, validate
from pipeline.errors import ConfigError, PipelineError
from pipeline.objectives.base import Judging
from pipeline.runs import Summary, process_clock
from pipeline.storage.locking import locks

CONFIG = Path(__file__).parent / "configs" / "demo.yaml"
IDENTITY = "demo.json"
DATA = "data"  # below the run
# Of the inference, which are the demo's.
COUNTED = ("read", "written", "quarantined", "filtered", "noted")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the demo; see :func:`jobs._job.main` for the exit codes."""
    options = build_parser().parse_intermixed_args(arguments)
    logs.set_up()
    try:
        words = [options.config, *options.overrides]
        path = str(CONFIG) if "=" in words[0] else words.pop(0)
        config = configured(path, words)
        if not storage.is_local(config.run):
            raise ConfigError(
                "the demo makes its data in a local folder", where=f"run={config.run}"
            )
        demo = _Demo(config)
        if options.dry_run:
            print(to_yaml(config) + "\n" + demo.plan())
            return 0
        summary = demo.run()
    except PipelineError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(
            "demo was interrupted; run it again and it goes on with the step it was at",
            file=sys.stderr,
        )
        return _job.INTERRUPTED
    print(summary.to_json() if options.json else _answer(summary, demo.objective.metric))
    return summary.exit_code


def configured(path: str, overrides: Sequence[str]) -> Config:
    """Reads a configuration; its splits are the shards that the demo makes in its run, unless an override says others.

    Raises:
        ConfigError: As :func:`pipeline.config.load`.
    """
    without_splits = [f"input.{split}=null" for split in SPLITS]
    data = storage.join(load(path, [*without_splits, *overrides]).run, DATA)
    shards = {split: storage.join(data, f"demo-{split}-*.tar") for split in SPLITS}
    made = [f"input.{split}={json.dumps(pattern)}" for split, pattern in shards.items()]
    return load(path, [*made, *overrides])


@dataclass(frozen=True)
class _Step:
    """A step of the demo.

    Attributes:
        about: What it does.
        result: A file that is there, or says so, once it is done.
        work: Does it.
    """

    about: str
    result: Path
    work: Callable[[], None]


class _Demo:
    """The steps, each passed over if it and all before it are done."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.folder = storage.local_path(config.run)
        self.names = list(config.modalities.by_name())
        self.objective = config.require_objective()
        self.identity = runs.fingerprint(config.model_dump(mode="json", exclude={"cluster"}))
        self.steps = list(self._steps())

    def run(self) -> Summary:
        with locks.lock(str(self.folder)), contextlib.ExitStack() as stack:
            self.stack = stack
            done = self._done()
            storage.write_bytes(str(self.folder / IDENTITY), self.identity.encode())
            for number, step in enumerate(self.steps, 1):
                print(
                    self._line(number, "already done" if number <= done else "..."),
                    file=sys.stderr,
                    flush=True,
                )
                if number > done:
                    step.work()
            return self._summary(fresh=done < len(self.steps))

    def plan(self) -> str:
        """What is done, and what would be."""
        done = self._done()
        words = (
            "already done" if number <= done else "to do"
            for number in range(1, len(self.steps) + 1)
        )
        return "\n".join(self._line(number, word) for number, word in enumerate(words, 1))

    def _line(self, number: int, word: str) -> str:
        return f"[{number}/{len(self.steps)}] {self.steps[number - 1].about}: {word}"

    def _done(self) -> int:
        """How many steps are done, the first first; none where the folder holds a demo of other settings."""
        marker = self.folder / IDENTITY
        if not marker.exists() or marker.read_text("utf-8") != self.identity:
            return 0
        undone = (at for at, step in enumerate(self.steps) if not _is_done(step.result))
        return next(undone, len(self.steps))

    def _steps(self) -> Iterator[_Step]:
        data, page = self.folder / DATA / runs.SUMMARY, self.folder / "report.html"
        judged = self.folder / "evaluation" / runs.SUMMARY
        yield _Step("make and pack 1,797 samples", data, self._make_data)
        yield self._job("train the fusion model", train.JOB, self.config)
        for name in self.names:
            yield self._job(f"train a model on {name} alone", train.JOB, self._alone(name))
        about = "write embeddings and predictions of the test split"
        yield self._job(about, infer.JOB, self.config)
        yield _Step("evaluate all models", judged, self._evaluate)
        yield _Step("write the report", page, self._report)

    def _job(self, about: str, job: _job.Job, config: Config) -> _Step:
        def work() -> None:
            self._connect()
            folder = job.output(config)
            shutil.rmtree(folder, ignore_errors=True)
            _job.run(job, config, began=process_clock())

        return _Step(about, Path(job.output(config)) / runs.SUMMARY, work)

    def _connect(self) -> None:
        """Starts Ray when the first step needs it, and keeps it for the others."""
        from pipeline.engine.cluster.session import connect

        self.stack.enter_context(connect(self.config.cluster))
        self._connect = lambda: None  # type: ignore[method-assign]

    def _make_data(self) -> None:
        from jobs.demo_source.data import make_demo_data

        began = process_clock()
        make_demo_data(self.folder / DATA)
        summary = Summary("pack", first_sample=began)
        summary.close(began)
        summary.write(str(self.folder / DATA))

    def _alone(self, name: str) -> Config:
        """The same configuration with one modality, in a run of its own."""
        tree = self.config.model_dump(mode="json", exclude_none=True)
        tree["modalities"] = {name: tree["modalities"][name]}
        tree["input"]["max_bad_fraction"] = (
            1.0  # samples that lack the modality are quarantined here
        )
        tree["run"] = storage.join(self.config.run, "alone", name)
        return validate(tree)

    def _evaluate(self) -> None:
        """Evaluates the fusion model, then adds the models of one modality to its comparison."""
        from pipeline.engine.plans.evaluate import METRICS, write_metrics

        self._connect()
        _job.run(evaluate.JOB, self.config, began=process_clock())
        folder = self.config.folder("evaluation")
        metrics: dict[str, Any] = json.loads(storage.read_bytes(storage.join(folder, METRICS)))
        metrics["comparison"] = [
            self._compared(name, metrics["subsets"][name]) for name in self.names
        ]
        write_metrics(metrics, folder)

    def _compared(self, name: str, masked: dict[str, object]) -> dict[str, Any]:
        """Evaluates the model of one modality, and compares it with the whole one on what both have judged.

        Args:
            name: The modality.
            masked: What the whole model reaches with this modality, whose numbers are those to compare.
        """
        from pipeline.engine.comparing.runs import predictions_of_both
        from pipeline.engine.plans.evaluate import METRICS

        alone = self._alone(name)
        _job.run(evaluate.JOB, alone, began=process_clock())
        folder = alone.folder("evaluation")
        judged = json.loads(storage.read_bytes(storage.join(folder, METRICS)))
        overall = judged["overall"]
        settings = self.config.evaluate
        judging = Judging(str(settings.input), settings.seed, settings.num_bootstrap)
        pairs = predictions_of_both(folder, self.config.folder("evaluation"))
        return {
            "name": f"{name} alone",
            "modalities": [name],
            **{number: overall[number] for number in masked if number in overall},
            "interval": overall["intervals"].get(self.objective.metric),
            **self.objective.difference(*pairs, judged, judging),
        }

    def _report(self) -> None:
        _job.run(report.JOB, self.config, began=process_clock())

    def _summary(self, *, fresh: bool) -> Summary:
        """The demo's own summary: counts and rate of the inference, metrics of the evaluation."""
        written = json.loads((self.folder / "embeddings" / runs.SUMMARY).read_text("utf-8"))
        judged = json.loads((self.folder / "evaluation" / runs.SUMMARY).read_text("utf-8"))
        metrics = json.loads((self.folder / "evaluation" / "metrics.json").read_text("utf-8"))
        summary = Summary("demo", fingerprint=judged["fingerprint"], metrics=judged["metrics"])
        for name in (*(f"samples_{count}" for count in COUNTED), "shards_damaged"):
            setattr(summary, name, written[name])
        for row in metrics["comparison"]:
            [name] = row["modalities"]
            one = f"{self.objective.metric}_{name}"
            summary.metrics[f"{one}_masked"] = summary.metrics[one]
            summary.metrics[one] = row[self.objective.metric]
        names = (DATA, "model", "embeddings", "evaluation")
        summary.outputs = {name: str(self.folder / name) for name in names}
        summary.outputs["report"] = str(self.folder / "report.html")
        summary.close()
        summary.samples_per_second = written["samples_per_second"]
        if fresh or not (self.folder / runs.SUMMARY).exists():
            summary.write(str(self.folder))
        return summary


def _is_done(path: Path) -> bool:
    if not path.exists():
        return False
    if path.name != runs.SUMMARY:
        return True
    return bool(json.loads(path.read_text("utf-8"))["status"] == "done")


def _answer(summary: Summary, metric: str) -> str:
    shown = [name for name in summary.metrics if name.partition("_")[0] == metric]
    lines = [f"demo: done in {summary.seconds:.1f} s", f"  {metric} on the test split:"]
    for name in shown:
        what = name.removeprefix(metric).removeprefix("_") or "all modalities"
        what = (
            f"{what[:-7]} (the same model, the others hidden)" if what.endswith("_masked") else what
        )
        lines.append(f"    {what:<48} {summary.metrics[name]:.3f}")
    lines.append(f"  open {summary.outputs['report']} in a browser")
    return "\n".join(lines)


def build_parser() -> argparse.ArgumentParser:
    """The demo's command line."""
    parser = argparse.ArgumentParser(
        prog=_job.program("demo"),
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "config", nargs="?", default=str(CONFIG), help="the configuration, a YAML file"
    )
    parser.add_argument(
        "overrides",
        nargs="*",
        default=[],
        metavar="dotted.path=value",
        help="settings that replace the file's, none or several",
    )
    parser.add_argument("--json", action="store_true", help="print the summary as one JSON object")
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="print the configuration and the steps that would be done, and end",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
