"""Variants x seeds of a configuration, trained, taken up again and compared."""

import json
from pathlib import Path

import pytest

from jobs import _job, sweep, train


@pytest.fixture
def config(tone_config: Path, tmp_path: Path) -> Path:
    lines = [line for line in tone_config.read_text().splitlines() if "text:" not in line]
    lines += ["sweep:", "  seeds: [0, 1]", "  variants:"]
    lines += [f"    {name}: [objective.fusion.kind={name}]" for name in ("concat", "gated")]
    path = tmp_path / "sweep.yaml"
    path.write_text("\n".join(lines).replace("epochs: 3", "epochs: 1"))
    return path


def seal_times(folder: Path) -> dict[str, int]:
    """Run -> when its model was written."""
    models = folder.glob("sweep/*/*/model/bundle.json")
    return {path.parts[-4] + "/" + path.parts[-3]: path.stat().st_mtime_ns for path in models}


def test_what_is_done_is_not_done_again(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    few = ["input.max_samples=20", "evaluate.baselines=false", "train.cache=disk"]
    assert sweep.main([str(config), *few]) == 0
    page = capsys.readouterr().out
    models = seal_times(run)
    assert set(models) == {f"{name}/seed-{seed}" for name in ("concat", "gated") for seed in (0, 1)}

    assert len(list((run / "sweep" / "cache").iterdir())) == 1, "all runs share what is decoded"
    assert not list(run.glob("sweep/*/*/cache"))

    content = json.loads((run / "comparison" / "comparison.json").read_text())
    assert {row["name"]: len(row["runs"]) for row in content["rows"]} == {"concat": 2, "gated": 2}
    metrics, validation = {}, {}
    for row in content["rows"]:
        for folder in row["runs"]:
            judged = json.loads((Path(folder) / "evaluation" / "metrics.json").read_text())
            bundle = json.loads((Path(folder) / "model" / "bundle.json").read_text())
            metrics.setdefault(row["name"], []).append(judged["overall"]["accuracy"])
            validation.setdefault(row["name"], []).append(bundle["metrics"]["val_accuracy"])
        number = row["metrics"]["accuracy"]
        assert number["value"] == pytest.approx(sum(metrics[row["name"]]) / 2)
        assert row["validation"]["value"] == pytest.approx(sum(validation[row["name"]]) / 2)
        assert number["deviation"] is not None
    best = max(validation, key=lambda name: sum(validation[name]))
    worst = min(validation, key=lambda name: sum(validation[name]))
    if sum(validation[best]) > sum(validation[worst]):
        assert f"The validation split chooses {best} " in page
    seeds = {json.loads((run / "sweep" / "gated" / f"seed-{seed}" / "model" / "bundle.json").read_text())
             ["training"]["settings"]["seed"] for seed in (0, 1)}  # fmt: skip
    assert seeds == {0, 1}

    evaluated = run / "sweep" / "concat" / "seed-0" / "evaluation" / "metrics.json"
    before = evaluated.stat().st_mtime_ns
    (run / "sweep" / "gated" / "seed-1" / "model" / "bundle.json").unlink()
    assert sweep.main([str(config), *few, "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["parts_done"], summary["parts_skipped"]) == (1, 3)
    again = seal_times(run)
    assert [name for name in models if again[name] != models[name]] == ["gated/seed-1"]
    assert evaluated.stat().st_mtime_ns == before, "neither is it judged again"

    assert sweep.main([str(config), *few, "train.learning_rate=0.1"]) == 2
    assert "sweep/concat/seed-0" in capsys.readouterr().err
    assert seal_times(run) == again


def test_a_wrong_variant_is_named_before_anything_is_trained(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = "sweep.variants={good: [objective.dropout=0.1], bad: [objective.fusion.kid=late]}"
    assert sweep.main([str(config), wrong]) == 2
    assert "sweep.variants.bad" in capsys.readouterr().err
    blended = "sweep.variants={good: [], blended: [objective.balance.kind=gradient_blending]}"
    assert sweep.main([str(config), blended, "input.val=null"]) == 2
    assert "sweep.variants.blended: objective.balance.kind" in capsys.readouterr().err
    assert not list(tmp_path.glob("run/sweep/*"))
    assert sweep.main([str(config), "sweep.variants={}"]) == 2
    assert "there is nothing to sweep over" in capsys.readouterr().err
    for unsafe in ("../x", ".hidden", "a/b"):
        assert sweep.main([str(config), f"sweep.variants={{{unsafe}: []}}"]) == 2
    assert sweep.main([str(config), "sweep.seeds=[1, 1]"]) == 2
    assert "a seed is given twice" in capsys.readouterr().err


@pytest.mark.ray
@pytest.mark.timeout(300)
@pytest.mark.usefixtures("local_ray")
def test_trials_side_by_side_train_the_same_models_and_are_taken_up_again(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = ["input.max_samples=20", "evaluate.baselines=false", "evaluate.num_bootstrap=20"]
    few += ["sweep.variants={concat: [objective.fusion.kind=concat]}"]
    together = ["sweep.parallel=2", "cluster.executor=ray"]
    assert sweep.main([str(config), *few, *together, "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["parts_done"], summary["parts_skipped"]) == (2, 0)
    content = json.loads((tmp_path / "run" / "comparison" / "comparison.json").read_text())
    assert [len(row["runs"]) for row in content["rows"]] == [2]
    models = sorted((tmp_path / "run").glob("sweep/concat/*/model"))
    weights = [(model / "weights.safetensors").read_bytes() for model in models]
    assert weights[0] != weights[1]

    one = ["run=" + str(tmp_path / "alone"), "train.seed=1", "objective.fusion.kind=concat"]
    here = ["input.max_samples=20", "cluster.executor=here"]
    assert _job.main(train.JOB, [str(config), *one, *here]) == 0
    assert (tmp_path / "alone" / "model" / "weights.safetensors").read_bytes() == weights[1]

    before = seal_times(tmp_path / "run")
    (models[1] / "bundle.json").unlink()
    capsys.readouterr()
    assert sweep.main([str(config), *few, *together, "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["parts_done"], summary["parts_skipped"]) == (1, 1)
    assert seal_times(tmp_path / "run")["concat/seed-0"] == before["concat/seed-0"]
    assert (models[1] / "weights.safetensors").read_bytes() == weights[1]


def test_side_by_side_needs_ray_and_one_worker(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for settings, said in (
        (["cluster.executor=here"], "cluster.executor is here"),
        (["cluster.executor=ray", "cluster.workers=2"], "cluster.workers is 2"),
    ):
        assert sweep.main([str(config), "sweep.parallel=2", *settings]) == 2
        assert said in capsys.readouterr().err
