"""Both READMEs and the pages say the same of what programs rely on."""

import re
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
EXIT_CODES = {0, 1, 2, 3, 4, 75, 130}


def test_exit_codes_are_told_in_both_languages() -> None:
    english = (PROJECT / "docs" / "observability.md").read_text("utf-8")
    table = english.partition("| exit code |")[2].partition("\n\n")[0]
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)} == EXIT_CODES
    [line] = re.findall(
        "^退出码：(.*)$", (PROJECT / "README.zh.md").read_text("utf-8"), re.MULTILINE
    )
    assert {int(code.split()[0]) for code in line.split("·")} == EXIT_CODES


def test_the_first_page_is_short() -> None:
    assert (PROJECT / "README.md").read_text("utf-8").count("\n") <= 150
