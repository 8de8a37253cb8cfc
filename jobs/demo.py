"""The whole path on a small real data set made on the spot: pack, train, infer, evaluate, report.

    python -m jobs.demo [CONFIG.yaml] [dotted.path=value ...] [--json]

Beside the fusion model, one model is trained for each modality alone, with the same settings, to compare it with.
Steps that are done already are said and passed over.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jobs import _job, evaluate, infer, report, train
from pipeline import logs, runs, storage
from pipeline.config import Config, load, validate
from pipeline.errors import ConfigError, PipelineError
from pipeline.metrics.evaluation import paired_difference
from pipeline.runs import Summary, process_clock
from pipeline.sections import EvaluateConfig
from pipeline.storage import locks

CONFIG = Path(__file__).parent / "configs" / "demo.yaml"
IDENTITY = "demo.json"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the demo; see :func:`jobs._job.main` for the exit codes."""
    options = build_parser().parse_intermixed_args(arguments)
    logs.set_up()
    try:
        words = [options.config, *options.overrides]
        path = str(CONFIG) if "=" in words[0] else words.pop(0)
        config = load(path, words)
        if not storage.is_local(config.run):
            raise ConfigError(
                "the demo makes its data in a local folder", where=f"run={config.run}"
            )
        summary = _Demo(config).run()
    except PipelineError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(
            "demo was interrupted; run it again and it goes on with the step it was at",
            file=sys.stderr,
        )
        return _job.INTERRUPTED
    print(summary.to_json() if options.json else _answer(summary))
    return summary.exit_code


class _Demo:
    """The steps, each passed over if it and all before it are done."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.folder = storage.local_path(config.run)
        self.skipping = True
        self.number = 0

    def run(self) -> Summary:
        names = list(self.config.modalities.by_name())
        self.total = 5 + len(names)
        with locks.lock(str(self.folder)), contextlib.ExitStack() as stack:
            self.stack = stack
            self._check_identity()
            self._step("data", "make and pack 1,797 samples", self.folder / "data", self._make_data)
            self._job("train", "train the fusion model", train.JOB, self.config)
            for name in names:
                self._job("train", f"train a model on {name} alone", train.JOB, self._alone(name))
            self._job(
                "infer",
                "write embeddings and predictions of the test split",
                infer.JOB,
                self.config,
            )
            self._step(
                "evaluate", "evaluate all models", self.folder / "evaluation", self._evaluate
            )
            self._step("report", "write the report", self.folder / "report.html", self._report)
            return self._summary(names)

    def _check_identity(self) -> None:
        """Starts afresh where the folder holds a demo of other settings."""
        identity = runs.fingerprint(self.config.model_dump(mode="json", exclude={"cluster"}))
        marker = self.folder / IDENTITY
        if not marker.exists() or marker.read_text("utf-8") != identity:
            self.skipping = False
            storage.write_bytes(str(marker), identity.encode())

    def _step(self, name: str, about: str, result: Path, work: Callable[[], None]) -> None:
        self.number += 1
        done = result if result.suffix else result / runs.SUMMARY
        self.skipping = self.skipping and _is_done(done)
        word = "already done" if self.skipping else "..."
        print(f"[{self.number}/{self.total}] {about}: {word}", file=sys.stderr, flush=True)
        if not self.skipping:
            work()

    def _job(self, name: str, about: str, job: _job.Job, config: Config) -> None:
        def work() -> None:
            self._connect()
            folder = job.output(config)
            shutil.rmtree(folder, ignore_errors=True)
            _job.run(job, config, began=process_clock())

        self._step(name, about, Path(job.output(config)), work)

    def _connect(self) -> None:
        """Starts Ray when the first step needs it, and keeps it for the others."""
        from pipeline.engine.cluster import connect

        self.stack.enter_context(connect(self.config.cluster))
        self._connect = lambda: None  # type: ignore[method-assign]

    def _make_data(self) -> None:
        from jobs.demo_data import make_demo_data

        began = process_clock()
        make_demo_data(self.folder / "data")
        summary = Summary("pack", first_sample=began)
        summary.close(began)
        summary.write(str(self.folder / "data"))

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
        from pipeline.engine.evaluate import METRICS, write_metrics

        self._connect()
        _job.run(evaluate.JOB, self.config, began=process_clock())
        folder = self.config.folder("evaluation")
        metrics: dict[str, Any] = json.loads(storage.read_bytes(storage.join(folder, METRICS)))
        metrics["comparison"] = []
        for name in self.config.modalities.by_name():
            alone = self._alone(name)
            _job.run(evaluate.JOB, alone, began=process_clock())
            url = storage.join(alone.folder("evaluation"), METRICS)
            overall = json.loads(storage.read_bytes(url))["overall"]
            metrics["comparison"].append(
                {
                    "name": f"{name} alone",
                    "modalities": [name],
                    "accuracy": overall["accuracy"],
                    "interval": overall["intervals"]["accuracy"],
                    "f1_macro": overall["f1_macro"],
                    "num_samples": overall["num_samples"],
                    **_against(folder, alone.folder("evaluation"), self.config.evaluate),
                }
            )
        write_metrics(metrics, folder)

    def _report(self) -> None:
        _job.run(report.JOB, self.config, began=process_clock())

    def _summary(self, names: Sequence[str]) -> Summary:
        """The demo's own summary: counts of the inference, metrics of the evaluation."""
        written = json.loads((self.folder / "embeddings" / runs.SUMMARY).read_text("utf-8"))
        judged = json.loads((self.folder / "evaluation" / runs.SUMMARY).read_text("utf-8"))
        metrics = json.loads((self.folder / "evaluation" / "metrics.json").read_text("utf-8"))
        summary = Summary("demo", fingerprint=judged["fingerprint"], metrics=judged["metrics"])
        for name in ("samples_read", "samples_written", "samples_quarantined", "shards_damaged"):
            setattr(summary, name, written[name])
        for row in metrics["comparison"]:
            [name] = row["modalities"]
            summary.metrics[f"accuracy_{name}_masked"] = summary.metrics[f"accuracy_{name}"]
            summary.metrics[f"accuracy_{name}"] = row["accuracy"]
        summary.outputs = {
            name: str(self.folder / path)
            for name, path in {
                "data": "data",
                "model": "model",
                "embeddings": "embeddings",
                "evaluation": "evaluation",
                "report": "report.html",
            }.items()
        }
        summary.close()
        if not self.skipping or not (self.folder / runs.SUMMARY).exists():
            summary.write(str(self.folder))
        return summary


def _against(whole: str, alone: str, settings: EvaluateConfig) -> dict[str, Any]:
    """The difference of two models' accuracies on the samples that both have judged, with its interval."""
    import pyarrow.parquet as pq

    from pipeline.engine.evaluate import PREDICTIONS

    right: list[dict[tuple[str, str], bool]] = []
    for folder in (alone, whole):
        table = pq.read_table(str(storage.local_path(storage.join(folder, PREDICTIONS))))
        rows = table.select(["shard", "key", "label", "prediction"]).to_pylist()
        right.append(
            {(row["shard"], row["key"]): row["label"] == row["prediction"] for row in rows}
        )
    both = sorted(right[0].keys() & right[1].keys())
    first, second = (np.array([each[name] for name in both], dtype=bool) for each in right)
    return paired_difference(
        first, second, seed=settings.seed, num_bootstrap=settings.num_bootstrap
    )


def _is_done(path: Path) -> bool:
    if not path.exists():
        return False
    if path.name != runs.SUMMARY:
        return True
    return bool(json.loads(path.read_text("utf-8"))["status"] == "done")


def _answer(summary: Summary) -> str:
    shown = [name for name in summary.metrics if name.startswith("accuracy")]
    lines = [f"demo: done in {summary.seconds:.1f} s", "  accuracy on the test split:"]
    for name in shown:
        what = name.removeprefix("accuracy").removeprefix("_") or "all modalities"
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
    return parser


if __name__ == "__main__":
    sys.exit(main())
