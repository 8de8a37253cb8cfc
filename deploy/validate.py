"""Checks cluster.yaml and deploy/rayjob.yaml without a cloud: ``python deploy/validate.py``.

Ray's own schema comes first; it leaves ``provider`` and ``node_config`` open, so ours follow. Then
the relations that no schema sees: versions against constraints.txt, files that commands name, GPUs
against instance types. Every finding is one line; the exit code is 2 if there is one.
"""

from __future__ import annotations

import copy
import logging
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import schemas
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

PROJECT = Path(__file__).resolve().parents[1]
MOUNT = re.compile(r"/home/ray/project(/[\w./-]+)?")
GPU_INSTANCE = re.compile(r"^(g\d|p\d)")  # AWS names its GPU families g and p


def main() -> int:
    """Checks both files and prints what is wrong.

    Returns:
        0 if nothing is, else 2.
    """
    logging.getLogger("ray").setLevel(logging.WARNING)
    files = {
        PROJECT / "cluster.yaml": check_cluster,
        PROJECT / "deploy" / "rayjob.yaml": check_ray_job,
    }
    findings = 0
    for path, check in files.items():
        place = path.relative_to(PROJECT)
        for finding in check(yaml.safe_load(path.read_text())):
            sys.stderr.write(f"ConfigError: {finding} | {place} | correct it\n")
            findings += 1
        sys.stdout.write(f"{place}: checked\n")
    return 2 if findings else 0


def check_cluster(config: dict[str, Any]) -> Iterator[str]:
    """Yields what is wrong with an autoscaler configuration (cluster.yaml)."""
    try:
        validate_config(prepare_config(copy.deepcopy(config)))
    except jsonschema.ValidationError as error:
        yield _say(error, "")
        return
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        yield f"Ray refuses it: {type(error).__name__}: {error}"
        return
    yield from _against(schemas.PROVIDER, config["provider"], "provider")
    for name, kind in config.get("available_node_types", {}).items():
        place = f"available_node_types.{name}"
        yield from _against(schemas.NODE_CONFIG, kind["node_config"], f"{place}.node_config")
        yield from _node_type(kind, place)
    yield from _versions(str(config.get("docker", {})))
    yield from _files(config)


def check_ray_job(manifest: dict[str, Any]) -> Iterator[str]:
    """Yields what is wrong with a RayJob manifest."""
    findings = list(_against(schemas.RAY_JOB, manifest, ""))
    if findings:
        yield from findings
        return
    spec = manifest["spec"]
    cluster = spec["rayClusterSpec"]
    if cluster["rayVersion"] != _pinned("ray"):
        yield f"rayVersion is {cluster['rayVersion']}, constraints.txt has {_pinned('ray')}"
    for group in cluster["workerGroupSpecs"]:
        if not group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]:
            yield f"{group['groupName']}: replicas are not between minReplicas and maxReplicas"
    for group in [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]:
        for container in group["template"]["spec"]["containers"]:
            gpus = [
                container["resources"][kind].get("nvidia.com/gpu")
                for kind in ("requests", "limits")
            ]
            if gpus[0] != gpus[1]:
                yield f"{container['name']}: Kubernetes wants equal requests and limits of GPUs"
    yield from _entrypoint(spec["entrypoint"])


def _node_type(kind: dict[str, Any], place: str) -> Iterator[str]:
    if kind.get("min_workers", 0) > kind.get("max_workers", sys.maxsize):
        yield f"{place}: min_workers is above max_workers"
    has_gpu = bool(kind.get("resources", {}).get("GPU"))
    instance = str(kind["node_config"].get("InstanceType", ""))
    if has_gpu != bool(GPU_INSTANCE.match(instance)):
        yield f"{place}: resources and InstanceType {instance} differ on whether there is a GPU"


def _versions(text: str) -> Iterator[str]:
    for version in re.findall(r"rayproject/ray:([\d.]+)", text):
        if version != _pinned("ray"):
            yield f"docker image has Ray {version}, constraints.txt has {_pinned('ray')}"


def _files(config: dict[str, Any]) -> Iterator[str]:
    for local in config.get("file_mounts", {}).values():
        if not local.startswith("~") and not (PROJECT / local).exists():
            yield f"file_mounts: there is no {local}"
    commands = [*config.get("setup_commands", []), *config.get("head_setup_commands", [])]
    for command in commands:
        for found in MOUNT.finditer(command):
            name = (found.group(1) or "/").lstrip("/")
            if not (PROJECT / name).exists():
                yield f"setup_commands: there is no {name} in the project"


def _entrypoint(text: str) -> Iterator[str]:
    words = shlex.split(text)
    if words[:2] != ["python", "-m"] or len(words) < 4 or not words[2].startswith("jobs."):
        yield "entrypoint is not python -m jobs.JOB CONFIG ..."
        return
    for path in (f"{words[2].replace('.', '/')}.py", words[3]):
        if not (PROJECT / path).is_file():
            yield f"entrypoint: there is no {path} in the project"
    if "cluster.address=auto" not in words:
        yield "entrypoint lacks cluster.address=auto"


def _pinned(package: str) -> str:
    text = (PROJECT / "constraints.txt").read_text()
    found = re.search(rf"^{package}(?:\[[^\]]*\])?==([^\s;]+)", text, re.MULTILINE)
    return found.group(1) if found else "no pin"


def _against(schema: dict[str, Any], value: Any, place: str) -> Iterator[str]:
    for error in jsonschema.Draft202012Validator(schema).iter_errors(value):
        yield _say(error, place)


def _say(error: jsonschema.ValidationError, place: str) -> str:
    path = ".".join([*([place] if place else []), *map(str, error.absolute_path)])
    return f"{path or 'top level'}: {error.message}"


if __name__ == "__main__":
    sys.exit(main())
