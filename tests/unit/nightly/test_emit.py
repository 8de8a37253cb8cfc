"""Files for schedulers, read by what reads them where that is there."""

import shlex
import shutil
import subprocess
from pathlib import Path

import jsonschema
import pytest
import yaml

from pipeline.nightly.emit import NAME, Schedule, cron, kubernetes, systemd

SCHEDULE = Schedule(
    cron="0 2 * * mon-fri",
    timezone="Asia/Shanghai",
    python="/opt/my venv/bin/python",
    folder="/srv/pipe line",
    config="/srv/birds 100%.yaml",
    overrides=("infer.input=data/{a,b}-*.tar", "nightly.deadline='05:30'"),
)

# What the API server demands of a CronJob, as far as we write it: required keys, kinds of values, and nothing unknown.
CRON_JOB = {
    "type": "object",
    "required": ["apiVersion", "kind", "metadata", "spec"],
    "additionalProperties": False,
    "properties": {
        "apiVersion": {"const": "batch/v1"},
        "kind": {"const": "CronJob"},
        "metadata": {
            "type": "object",
            "required": ["name"],
            "properties": {"name": {"pattern": r"^[a-z0-9]([-a-z0-9]{0,50}[a-z0-9])?$"}},
        },
        "spec": {
            "type": "object",
            "required": ["schedule", "jobTemplate"],
            "additionalProperties": False,
            "properties": {
                "schedule": {"type": "string"},
                "timeZone": {"type": "string"},
                "concurrencyPolicy": {"enum": ["Allow", "Forbid", "Replace"]},
                "startingDeadlineSeconds": {"type": "integer", "minimum": 10},
                "jobTemplate": {
                    "type": "object",
                    "required": ["spec"],
                    "properties": {
                        "spec": {
                            "type": "object",
                            "required": ["template"],
                            "properties": {
                                "backoffLimit": {"type": "integer"},
                                "template": {
                                    "type": "object",
                                    "required": ["spec"],
                                    "properties": {
                                        "spec": {
                                            "type": "object",
                                            "required": ["containers", "restartPolicy"],
                                            "properties": {
                                                "restartPolicy": {"enum": ["Never", "OnFailure"]},
                                                "containers": {
                                                    "type": "array",
                                                    "minItems": 1,
                                                    "items": {
                                                        "type": "object",
                                                        "required": ["name", "image"],
                                                        "properties": {
                                                            "command": {
                                                                "type": "array",
                                                                "items": {"type": "string"},
                                                            }
                                                        },
                                                    },
                                                },
                                            },
                                        }
                                    },
                                },
                            },
                        }
                    },
                },
            },
        },
    },
}


def test_units_run_the_night_in_its_folder() -> None:
    files = systemd(SCHEDULE)
    assert set(files) == {f"{NAME}.service", f"{NAME}.timer"}
    service, timer = (files[f"{NAME}.{kind}"] for kind in ("service", "timer"))
    assert "WorkingDirectory=/srv/pipe line\n" in service
    assert '"/srv/birds 100%%.yaml"' in service
    assert "OnCalendar=Mon,Tue,Wed,Thu,Fri *-*-* 02:00:00 Asia/Shanghai\n" in timer
    assert "Persistent=true" in timer


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not there")
def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    plain = Schedule("0 2 * * *", "UTC", "/bin/true", "/tmp", "/tmp/x.yaml")
    for name, text in systemd(plain).items():
        (tmp_path / name).write_text(text)
    command = ["systemd-analyze", "verify", *map(str, tmp_path.iterdir())]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_crontab_line_runs_the_night() -> None:
    [text] = cron(SCHEDULE).values()
    line = text.splitlines()[-1]
    assert line.startswith("0 2 * * mon-fri cd ")
    command = line.removeprefix("0 2 * * mon-fri ").replace(r"\%", "%")
    words = shlex.split(command)
    assert words[:3] == ["cd", "/srv/pipe line", "&&"]
    assert words[3:-3] == [*SCHEDULE.command[:-2], *SCHEDULE.overrides]
    assert "CRON_TZ=Asia/Shanghai" in text


def test_kubernetes_gets_a_cron_job_and_its_configuration() -> None:
    [text] = kubernetes(SCHEDULE, "run: s3://bucket/birds\n").values()
    settings, job = yaml.safe_load_all(text)
    assert settings["data"]["config.yaml"] == "run: s3://bucket/birds\n"
    jsonschema.validate(job, CRON_JOB)
    spec = job["spec"]
    assert (spec["schedule"], spec["timeZone"]) == ("0 2 * * mon-fri", "Asia/Shanghai")
    assert spec["concurrencyPolicy"] == "Forbid"
    pod = spec["jobTemplate"]["spec"]["template"]["spec"]
    [container] = pod["containers"]
    [mount], [volume] = container["volumeMounts"], pod["volumes"]
    assert mount["name"] == volume["name"]
    assert volume["configMap"]["name"] == settings["metadata"]["name"]
    assert container["command"][3] == f"{mount['mountPath']}/config.yaml"
