"""cluster.yaml and deploy/ pass their checks, and the checks notice what they are there for."""

import copy
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

PROJECT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT / "deploy"))
from validate import check_cluster, check_ray_job  # noqa: E402

CLUSTER = yaml.safe_load((PROJECT / "cluster.yaml").read_text())
RAY_JOB = yaml.safe_load((PROJECT / "deploy" / "rayjob.yaml").read_text())


def test_shipped_files_pass() -> None:
    done = subprocess.run(
        [sys.executable, "deploy/validate.py"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "ConfigError" not in done.stderr


def changed(tree: dict, path: str, value: object) -> dict:
    tree = copy.deepcopy(tree)
    *parents, last = path.split("/")
    node = tree
    for step in parents:
        node = node[int(step)] if isinstance(node, list) else node[step]
    node[last] = value
    return tree


@pytest.mark.parametrize(
    ("path", "value", "word"),
    [
        ("max_worker", 3, "max_worker"),
        ("max_workers", "three", "max_workers"),
        ("head_node_type", "boss", "head_node_type"),
        ("provider/regoin", "x", "regoin"),
        ("provider/region", "Frankfurt", "provider.region"),
        ("available_node_types/model/node_config/InstanceTyp", "x", "InstanceTyp"),
        ("available_node_types/model/node_config/InstanceType", "c6i.large", "GPU"),
        ("available_node_types/decode/min_workers", 9, "min_workers"),
        ("docker/image", "rayproject/ray:2.9.0-py311", "2.9.0"),
        ("file_mounts", {"/home/ray/project": "nowhere"}, "nowhere"),
        ("setup_commands", ["pip install -r /home/ray/project/req.txt"], "req.txt"),
    ],
)
def test_a_wrong_cluster_file_is_noticed(path: str, value: object, word: str) -> None:
    findings = list(check_cluster(changed(CLUSTER, path, value)))
    assert any(word in finding for finding in findings), findings


@pytest.mark.parametrize(
    ("path", "value", "word"),
    [
        ("apiVersion", "ray.io/v1alpha1", "apiVersion"),
        ("spec/entrypiont", "x", "entrypiont"),
        ("spec/entrypoint", "python train.py", "entrypoint"),
        ("spec/entrypoint", "python -m jobs.infre a.yaml cluster.address=auto", "infre"),
        ("spec/rayClusterSpec/rayVersion", "2.9.0", "2.9.0"),
        ("spec/rayClusterSpec/workerGroupSpecs/0/replicas", 99, "replicas"),
        ("spec/rayClusterSpec/workerGroupSpecs/0/template", {}, "spec"),
    ],
)
def test_a_wrong_manifest_is_noticed(path: str, value: object, word: str) -> None:
    findings = list(check_ray_job(changed(RAY_JOB, path, value)))
    assert any(word in finding for finding in findings), findings
