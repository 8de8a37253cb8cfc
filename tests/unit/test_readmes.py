"""Both READMEs say the same of what programs rely on."""

import re
from pathlib import Path

from jobs.__main__ import job_names

PROJECT = Path(__file__).resolve().parents[2]
EXIT_CODES = {0, 1, 2, 3, 4, 75, 130}


def test_both_have_every_exit_code() -> None:
    english = (PROJECT / "README.md").read_text("utf-8")
    table = english.partition("| exit code |")[2].partition("\n\n")[0]
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)} == EXIT_CODES
    [line] = re.findall(
        "^退出码：(.*)$", (PROJECT / "README.zh.md").read_text("utf-8"), re.MULTILINE
    )
    assert {int(each.split()[0]) for each in line.split("·")} == EXIT_CODES


def test_they_name_no_job_that_is_not_there() -> None:
    for name in ("README.md", "README.zh.md"):
        named = set(re.findall(r"python -m jobs\.(\w+)", (PROJECT / name).read_text("utf-8")))
        assert named <= set(job_names()), name
