"""The page of all settings is that of the types that check a configuration."""

from pipeline.config import Config
from pipeline.settings import settings
from pipeline.settings_page import PAGE, page


def test_the_committed_page_is_current() -> None:
    assert PAGE.read_text("utf-8") == page(), "run make docs"


def test_it_has_every_setting_with_what_it_is() -> None:
    rows = [line.split(" | ") for line in page().splitlines() if line.startswith("| `")]
    described = {row[0].removeprefix("| ").strip("`") for row in rows if row[-1] != " |"}
    assert {path.rpartition(".")[2] for path, _, _ in settings(Config)} <= described
    assert all(len(row) == 4 and row[-1].removesuffix("|").strip() for row in rows), "describe it"


def test_kinds_of_a_union_are_told_apart() -> None:
    objective = page().partition("\n## objective\n")[2].partition("\n## ")[0]
    shared, *kinds = objective.split("\n`kind: ")
    classify, _, regress, *_ = kinds
    assert "| `width` |" in shared
    assert "| `label` |" not in shared
    assert "`cross_entropy`, `focal`" in classify
    assert "`squared`, `absolute`, `huber`" in regress
