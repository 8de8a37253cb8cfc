"""A shared space of few pairs from scratch, against open_clip's own training loop on the same shards.

    pip install --no-deps --target runs/bench/webdataset webdataset==0.2.86
    python -m bench.contrast --data ../shared/data [--sets emoji flickr] [--runs ours clip siglip] [--seeds 0 1 2]

Both sides train on the training split alone and are judged once, by the test split, with their last epoch; the settings
of ours were chosen by cross-validation within the other splits. What was measured before with another seed stays in
bench/results/contrast.json, so that a long measurement can be made in pieces.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
from pathlib import Path
from typing import Any

from bench.ingest import environment
from bench.measure import measure

RESULTS = Path(__file__).parent / "results" / "contrast.json"
RUNS = ("ours", "clip", "siglip")
RECALL = "recall_at_5_image_to_text"
# Of each set: the field of the images, training samples, and the epochs of open_clip's loop.
SETS = {"emoji": ("png", 704, 40), "flickr": ("jpg", 160, 30)}
RECIPE = """
run: {run}
input: {{train: '{data}/{name}/{name}-train-*.tar', test: '{data}/{name}/{name}-test-*.tar'}}
modalities:
  image: {{fields: [{field}], size: 32, encoder: {{kind: statistics, told: colours, layers: 0, dropout: 0.3}}}}
  text: {{fields: [txt], encoder: {{kind: ngrams}}}}
objective: {{kind: contrast, width: 256, temperature: {temperature}, min_temperature: {temperature}}}
train: {{epochs: 30, batch_size: 128, learning_rate: 3e-3, seed: {seed}}}
cluster: {{executor: here}}
"""
TEMPERATURE = 0.4


def main() -> None:
    given = options()
    results = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    for name in given.sets:
        for seed in given.seeds:
            for run in given.runs:
                found = ours(name, seed, given) if run == "ours" else theirs(name, run, seed, given)
                about = environment()
                about.pop("started")
                entry = {**found, "environment": about, "load": round(os.getloadavg()[0], 1)}
                results.setdefault(name, {}).setdefault(run, {})[str(seed)] = entry
                print(f"{name} {run} seed {seed}: {found[RECALL]:.3f}", file=sys.stderr, flush=True)
                results["recall"] = compared(results)
                RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps(results["recall"], indent=1))


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of the sets")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--runs", nargs="+", choices=RUNS, default=RUNS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--work", type=Path, default=Path("runs/bench/contrast"))
    parser.add_argument("--webdataset", type=Path, default=Path("runs/bench/webdataset"))
    return parser.parse_args()


def ours(name: str, seed: int, given: argparse.Namespace) -> dict[str, Any]:
    """Trains and evaluates with the jobs."""
    folder = given.work.absolute()
    shutil.rmtree(folder / "run", ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "config.yaml"
    settings = {"run": folder / "run", "data": given.data.absolute(), "name": name, "seed": seed}
    text = RECIPE.format(**settings, field=SETS[name][0], temperature=TEMPERATURE)
    config.write_text(text, encoding="utf-8")
    train = answer([sys.executable, "-m", "jobs.train", str(config), "--json"])
    answer([sys.executable, "-m", "jobs.evaluate", str(config), "--json"])
    metrics = json.loads((folder / "run/evaluation/summary.json").read_text())["metrics"]
    wanted = (RECALL, "recall_at_5_text_to_image", "median_rank_image_to_text")
    numbers = {name: metrics[name] for name in wanted}
    return {**numbers, "train_cpu_seconds": train["cpu_seconds"]}


def theirs(name: str, loss: str, seed: int, given: argparse.Namespace) -> dict[str, Any]:
    """Trains and evaluates with open_clip's loop."""
    _, samples, epochs = SETS[name]
    shards = given.data.absolute() / name / f"{name}-{{}}-*.tar"
    place = os.pathsep.join([str(given.webdataset.absolute()), str(Path.cwd())])
    command = ["env", f"PYTHONPATH={place}", sys.executable, "-m", "bench.peers.open_clip_loop"]
    command += ["--train", str(shards).format("train"), "--test", str(shards).format("test")]
    command += ["--samples", str(samples), "--epochs", str(epochs), "--seed", str(seed)]
    found = answer([*command, "--loss", loss])
    return {**found["answer"], "train_cpu_seconds": found["cpu_seconds"]}


def answer(command: list[str]) -> dict[str, Any]:
    """What a process answered, and its CPU seconds.

    Raises:
        SystemExit: It failed.
    """
    found = measure(command)
    if found.failed:
        raise SystemExit(f"exit code {found.exit_code}: {found.error}")
    return {"answer": found.answer, "cpu_seconds": round(found.cpu_seconds, 1)}


def compared(results: dict[str, Any]) -> dict[str, Any]:
    """Of each set: mean and spread of the recall over the seeds, and ours over the better of theirs."""
    table: dict[str, Any] = {}
    for name in SETS:
        values = {
            run: [entry[RECALL] for entry in seeds.values()]
            for run, seeds in results.get(name, {}).items()
        }
        means = {run: statistics.mean(each) for run, each in values.items()}
        table[name] = {
            run: {
                "mean": round(means[run], 4),
                "min": min(each),
                "max": max(each),
                "seeds": len(each),
            }
            for run, each in values.items()
        }
        best = max((mean for run, mean in means.items() if run != "ours"), default=0.0)
        if "ours" in means and best:
            table[name]["ours / better of theirs"] = round(means["ours"] / best, 2)
    return table


if __name__ == "__main__":
    main()
