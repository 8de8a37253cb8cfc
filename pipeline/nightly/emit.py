"""Files that make systemd, cron or Kubernetes run a night."""

from __future__ import annotations

import datetime
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import yaml

from pipeline.nightly.clock import time_zone
from pipeline.nightly.cron import parse_cron
from pipeline.nightly.expressions import (
    YEARS_AHEAD,
    crontab_fields,
    kubernetes_schedule,
    on_calendar,
    passed_over,
    require_same,
)

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
        catch_up: Dates before the night's own that it makes up for.
        now: When the files are written; changes of clocks are looked for from then on.
    """

    cron: str
    timezone: str
    python: str
    folder: str
    config: str
    overrides: Sequence[str] = ()
    image: str = "pipeline:latest"
    catch_up: int = 0
    now: datetime.datetime = field(default_factory=lambda: datetime.datetime.now(datetime.UTC))

    @property
    def command(self) -> list[str]:
        """The night, as words."""
        return night_command(self.python, self.config, self.overrides, self.timezone, self.catch_up)


def night_command(
    python: str, config: str, overrides: Sequence[str], timezone: str, catch_up: int
) -> list[str]:
    """The command of one night, whoever starts it and wherever: its date is that of the time zone."""
    flags = ["--timezone", timezone, *(["--catch-up", str(catch_up)] if catch_up else [])]
    return [python, "-m", "jobs.nightly", config, *overrides, *flags]


def systemd(schedule: Schedule) -> dict[str, str]:
    """A oneshot service and its timer. A night that the machine slept through is made up for.

    systemd begins a night once where the clocks go back, and none at a time that they pass over: such nights have
    lines of their own.
    """
    zone, cron = time_zone(schedule.timezone), parse_cron(schedule.cron)
    # In a unit, % begins a specifier and $ a variable.
    command = " ".join(
        _quoted(word.replace("%", "%%").replace("$", "$$")) for word in schedule.command
    )
    times = [f"OnCalendar={line}" for line in on_calendar(cron, zone)]
    gaps = [
        f"{due.astimezone(zone):%Y-%m-%d %H:%M:%S}" for due in passed_over(cron, zone, schedule.now)
    ]
    if gaps:
        times += [
            f"# The clocks pass over these nights' time; looked for {YEARS_AHEAD} years ahead."
        ]
        times += [f"OnCalendar={gap} {zone.key}" for gap in gaps]
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
    """A line for crontab.

    Raises:
        ConfigError: cron would miss a night, or begin one twice, where clocks change.
    """
    times = parse_cron(schedule.cron)
    require_same(times, time_zone(schedule.timezone), schedule.now, "cron")
    command = f"cd {shlex.quote(schedule.folder)} && {shlex.join(schedule.command)}"
    lines = [
        "# Read it with: crontab FILE. CRON_TZ is known to cronie; other crons take the machine's time zone.",
        f"CRON_TZ={schedule.timezone}",
        # In a crontab, % ends the command.
        f"{crontab_fields(times)} {command} >> nightly.log 2>&1".replace("%", r"\%"),
    ]
    return {f"{NAME}.crontab": "\n".join(lines) + "\n"}


def kubernetes(schedule: Schedule, config_text: str) -> dict[str, str]:
    """A CronJob, and a ConfigMap with the configuration.

    Args:
        schedule: What is run, and when; its folder and interpreter are those of the image.
        config_text: The configuration.

    Raises:
        ConfigError: Kubernetes would begin nights at other times.
    """
    times = parse_cron(schedule.cron)
    expression = kubernetes_schedule(times)
    require_same(times, time_zone(schedule.timezone), schedule.now, "Kubernetes")
    command = night_command(
        "python",
        f"{_MOUNT}/config.yaml",
        schedule.overrides,
        schedule.timezone,
        schedule.catch_up,
    )
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
            "schedule": expression,
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
