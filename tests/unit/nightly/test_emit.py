"""Files for schedulers, read by what reads them where that is there, and by twins of their rules."""

import datetime
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from zoneinfo import ZoneInfo

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from test_cron import schedules

from pipeline.errors import ConfigError
from pipeline.nightly.cron import parse_cron
from pipeline.nightly.emit import NAME, Schedule, cron, kubernetes, systemd
from pipeline.nightly.expressions import crontab_fields, kubernetes_schedule, on_calendar

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)

SCHEDULE = Schedule(
    cron="0 2 * * mon-fri",
    timezone="Asia/Shanghai",
    python="/opt/my venv/bin/python",
    folder="/srv/pipe line",
    config="/srv/birds 100%.yaml",
    overrides=("infer.input=data/{a,b}-*.tar", "nightly.deadline='05:30'"),
    catch_up=3,
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
    assert line.startswith("0 2 * * 1-5 cd ")
    command = line.removeprefix("0 2 * * 1-5 ").replace(r"\%", "%")
    words = shlex.split(command)
    assert words[:3] == ["cd", "/srv/pipe line", "&&"]
    assert words[3:-3] == SCHEDULE.command
    assert "CRON_TZ=Asia/Shanghai" in text


def test_kubernetes_gets_a_cron_job_and_its_configuration() -> None:
    [text] = kubernetes(SCHEDULE, "run: s3://bucket/birds\n").values()
    settings, job = yaml.safe_load_all(text)
    assert settings["data"]["config.yaml"] == "run: s3://bucket/birds\n"
    jsonschema.validate(job, CRON_JOB)
    spec = job["spec"]
    assert (spec["schedule"], spec["timeZone"]) == ("0 2 * * 1-5", "Asia/Shanghai")
    assert spec["concurrencyPolicy"] == "Forbid"
    pod = spec["jobTemplate"]["spec"]["template"]["spec"]
    [container] = pod["containers"]
    [mount], [volume] = container["volumeMounts"], pod["volumes"]
    assert mount["name"] == volume["name"]
    assert volume["configMap"]["name"] == settings["metadata"]["name"]
    assert container["command"][3] == f"{mount['mountPath']}/config.yaml"


def test_the_emitted_command_has_the_zone_and_what_is_caught_up_with() -> None:
    """A container on UTC knows no other date."""
    flags = ["--timezone", "Asia/Shanghai", "--catch-up", "3"]
    assert SCHEDULE.command[-4:] == flags
    [text] = cron(SCHEDULE).values()
    assert " ".join(flags) in text
    service = systemd(SCHEDULE)[f"{NAME}.service"]
    assert " ".join(f'"{flag}"' for flag in flags) in service
    [text] = kubernetes(SCHEDULE, "").values()
    _, job = yaml.safe_load_all(text)
    [container] = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    assert container["command"][-4:] == flags


def fields_of(text: str) -> tuple[list[str], list[set[int]]]:
    """Numbers, ranges and steps of five fields."""
    words, values = text.split(), []
    for word, (low, high) in zip(words, [(0, 59), (0, 23), (1, 31), (1, 12), (0, 6)], strict=True):
        found: set[int] = set()
        for item in word.split(","):
            match = re.fullmatch(r"(?:\*|(\d+)(?:-(\d+))?)(?:/(\d+))?", item)
            assert match, item
            first, last, step = (None if each is None else int(each) for each in match.groups())
            end = high if first is None else first if last is None else last
            found |= set(range(low if first is None else first, end + 1, step or 1))
            assert low <= min(found)
            assert max(found) <= high
        values.append(found)
    return words, values


def cronies(text: str) -> Callable[[datetime.datetime], bool]:
    """Whether cronie begins a job at a time: both days have to fit where either field begins with a star."""
    words, (minutes, hours, days, months, weekdays) = fields_of(text)
    join = all if words[2][0] == "*" or words[4][0] == "*" else any
    return lambda at: (
        at.minute in minutes and at.hour in hours and at.month in months
        and join([at.day in days, at.isoweekday() % 7 in weekdays])
    )  # fmt: skip


def kubernetes_reads(text: str) -> Callable[[datetime.datetime], bool]:
    """The same of robfig/cron: a star counts wherever it stands, and does not where it has a step over one."""
    words, (minutes, hours, days, months, weekdays) = fields_of(text)
    stars = [any(item in ("*", "*/1") for item in words[at].split(",")) for at in (2, 4)]
    join = all if any(stars) else any
    return lambda at: (
        at.minute in minutes and at.hour in hours and at.month in months
        and join([at.day in days, at.isoweekday() % 7 in weekdays])
    )  # fmt: skip


@settings(max_examples=60)
@given(drawn=schedules())
def test_cron_and_kubernetes_begin_nights_at_the_same_times_or_are_refused(
    drawn: tuple[str, dict[str, set[int]]],
) -> None:
    try:
        times = parse_cron(drawn[0])
    except ConfigError:
        return
    readers = [cronies(crontab_fields(times))]
    try:
        readers.append(kubernetes_reads(kubernetes_schedule(times)))
    except ConfigError:
        assert times.both
        assert not times.any_day
        assert not times.any_weekday
    first = next(day for day in range(10228) if times.falls_on(NOW + datetime.timedelta(day)))
    nightly = NOW.replace(hour=times.hours[0], minute=times.minutes[-1])
    looked_at = [nightly + datetime.timedelta(day) for day in range(730)]
    looked_at += [NOW + datetime.timedelta(first, minutes=at) for at in range(1440)]
    expected = [times.shows(at) for at in looked_at]
    for reads in readers:
        assert [reads(at) for at in looked_at] == expected


def test_what_kubernetes_cannot_say_is_refused() -> None:
    both = Schedule("0 0 */2 * mon", "UTC", "python", "/", "x.yaml")
    with pytest.raises(ConfigError, match="Kubernetes reads .* one or the other"):
        kubernetes(both, "")
    [line] = [line for line in cron(both)[f"{NAME}.crontab"].splitlines() if "cd /" in line]
    assert line.startswith("0 0 */2,1,3,5,7,")
    assert kubernetes_schedule(parse_cron("0 2 * * 7")) == "0 2 * * 0", "it knows no 7"


@pytest.mark.parametrize(
    ("text", "zone", "refused"),
    [
        ("0 0 * * *", "Asia/Beirut", "would not begin the night of 2026-03-29"),
        ("0 0 * * *", "America/Santiago", "would not begin the night of 2026-09-06"),
        ("30 2 * * *", "Europe/Berlin", "would not begin the night of 2026-03-29"),
        ("30 1 * * *", "America/New_York", "would begin a night twice on 2026-11-01"),
        ("0 5 * * *", "Europe/Berlin", None),
        ("0 0 1 1 *", "Asia/Beirut", None),
        ("0 0 * * *", "Asia/Shanghai", None),
    ],
)
def test_nights_that_a_clock_would_lose_or_double_are_refused(
    text: str, zone: str, refused: str | None
) -> None:
    schedule = Schedule(text, zone, "python", "/", "x.yaml", now=NOW)
    for name, write in (("cron", cron), ("Kubernetes", lambda each: kubernetes(each, ""))):
        if refused is None:
            write(schedule)
            continue
        with pytest.raises(ConfigError, match=f"{name} {refused}"):
            write(schedule)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not there")
@pytest.mark.parametrize(
    ("text", "zone"),
    [
        ("0 2 * * *", "Asia/Shanghai"),
        ("*/15 1-3 * * mon,fri", "UTC"),
        ("0 0 */2 * mon", "UTC"),
        ("0 0 1,15 6,7 sun", "UTC"),
        ("0 0 * * *", "Asia/Beirut"),
        ("0 0 * * *", "America/Santiago"),
        ("30 2 * * *", "Europe/Berlin"),
        ("30 1,2,3 * * sun", "America/New_York"),
    ],
)
def test_systemd_begins_nights_at_the_same_moments(text: str, zone: str) -> None:
    """Those of the year 2026, or the first hundred of it."""
    timer = systemd(Schedule(text, zone, "python", "/", "x.yaml", now=NOW))[f"{NAME}.timer"]
    elapsed: set[datetime.datetime] = set()
    for line in re.findall("^OnCalendar=(.*)$", timer, re.MULTILINE):
        command = [
            "systemd-analyze",
            "calendar",
            "--iterations=370",
            f"--base-time={NOW:%F %T} UTC",
            line,
        ]
        done = subprocess.run(
            command,
            check=True,
            capture_output=True,
            text=True,
            env={"TZ": "UTC", "PATH": "/usr/bin:/bin"},
        )
        elapsed |= {
            datetime.datetime.strptime(each, "%Y-%m-%d %H:%M:%S").replace(tzinfo=datetime.UTC)
            for each in re.findall(r"(?:Next elapse|Iter\. #\d+): \w+ (\S+ \S+) UTC", done.stdout)
        }
    due, moments = parse_cron(text).after(NOW, ZoneInfo(zone)), []
    while due.year == 2026 and len(moments) < 370:
        moments.append(due)
        due = parse_cron(text).after(due, ZoneInfo(zone))
    assert [each for each in sorted(elapsed) if each <= moments[-1]] == moments


def test_as_systemd_writes_it() -> None:
    utc = ZoneInfo("UTC")
    assert on_calendar(parse_cron("0 2 * * 1-3"), utc) == ["Mon,Tue,Wed *-*-* 02:00:00 UTC"]
    assert on_calendar(parse_cron("0 2 1 * 1"), utc) == [
        "*-*-01 02:00:00 UTC",
        "Mon *-*-* 02:00:00 UTC",
    ]
