"""Files that make systemd, cron or Kubernetes run a night."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import yaml

from pipeline.nightly.cron import on_calendar, parse_cron

NAME = "pipeline-nightly"
_MOUNT = "/etc/pipeline"


@dataclass(frozen=True)
class Schedule:
    """What is run, and when.

    Attributes:
        cron: Five fields.
        timezone: Name of a time zone.
        python: The interpreter.
        folder: Where the job is started.
        config: Path of the configuration.
        overrides: ``dotted.path=value``.
        image: Container image, for Kubernetes.
    """

    cron: str
    timezone: str
    python: str
    folder: str
    config: str
    overrides: Sequence[str] = ()
    image: str = "pipeline:latest"

    @property
    def command(self) -> list[str]:
        """The night, as words."""
        return [self.python, "-m", "jobs.nightly", self.config, *self.overrides]


def systemd(schedule: Schedule) -> dict[str, str]:
    """A oneshot service and its timer. A night that the machine slept through is made up for."""
    # In a unit, % begins a specifier and $ a variable.
    command = " ".join(
        _quoted(word.replace("%", "%%").replace("$", "$$")) for word in schedule.command
    )
    times = [
        f"OnCalendar={on_calendar(each, schedule.timezone)}" for each in parse_cron(schedule.cron)
    ]
    service = [
        "[Unit]",
        "Description=Nightly batch inference",
        "Wants=network-online.target",
        "After=network-online.target",
        "",
        "[Service]",
        "Type=oneshot",
        f"WorkingDirectory={schedule.folder.replace('%', '%%')}",
        f"ExecStart={command}",
        "TimeoutStartSec=infinity",
        "KillSignal=SIGINT",
        "TimeoutStopSec=120",
    ]
    timer = ["[Unit]", "Description=When the nightly batch inference runs", "", "[Timer]", *times]
    timer += ["Persistent=true", "", "[Install]", "WantedBy=timers.target"]
    return {f"{NAME}.service": "\n".join(service) + "\n", f"{NAME}.timer": "\n".join(timer) + "\n"}


def cron(schedule: Schedule) -> dict[str, str]:
    """A line for crontab."""
    parse_cron(schedule.cron)
    command = f"cd {shlex.quote(schedule.folder)} && {shlex.join(schedule.command)}"
    lines = [
        "# Read it with: crontab FILE. CRON_TZ is known to cronie; other crons take the machine's time zone.",
        f"CRON_TZ={schedule.timezone}",
        # In a crontab, % ends the command.
        f"{schedule.cron} {command} >> nightly.log 2>&1".replace("%", r"\%"),
    ]
    return {f"{NAME}.crontab": "\n".join(lines) + "\n"}


def kubernetes(schedule: Schedule, config_text: str) -> dict[str, str]:
    """A CronJob, and a ConfigMap with the configuration.

    Args:
        schedule: What is run, and when; its folder and interpreter are those of the image.
        config_text: The configuration.
    """
    parse_cron(schedule.cron)
    command = ["python", "-m", "jobs.nightly", f"{_MOUNT}/config.yaml", *schedule.overrides]
    container = {
        "name": "nightly",
        "image": schedule.image,
        "command": command,
        "volumeMounts": [{"name": "config", "mountPath": _MOUNT, "readOnly": True}],
    }
    pod = {
        "restartPolicy": "Never",
        "containers": [container],
        "volumes": [{"name": "config", "configMap": {"name": NAME}}],
    }
    job = {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": NAME},
        "spec": {
            "schedule": schedule.cron,
            "timeZone": schedule.timezone,
            "concurrencyPolicy": "Forbid",
            "startingDeadlineSeconds": 3600,
            # The job retries by itself, and a rerun does only what is left.
            "jobTemplate": {"spec": {"backoffLimit": 0, "template": {"spec": pod}}},
        },
    }
    settings = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": NAME},
        "data": {"config.yaml": config_text},
    }
    text = yaml.safe_dump_all([settings, job], sort_keys=False, allow_unicode=True)
    return {f"{NAME}.yaml": text}


WITHOUT_CONFIG: Mapping[str, Callable[[Schedule], dict[str, str]]] = {
    "systemd": systemd,
    "cron": cron,
}


def _quoted(word: str) -> str:
    escaped = word.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
