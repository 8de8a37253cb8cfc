"""What README and the pages show is so: their settings, commands, code, files and links."""

import importlib
import io
import re
import shlex
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

import PIL.Image
import pytest
import yaml

from jobs import _job, preprocess
from jobs.__main__ import _parser_of, job_names
from pipeline.config import Config, load, validate
from pipeline.modalities.known_kinds import meanings
from pipeline.settings import settings

PROJECT = Path(__file__).resolve().parents[2]
# docs/python.md and docs/own-models.md have tests of their own, which run their code.
PAGES = sorted(
    path
    for path in (*PROJECT.glob("*.md"), *(PROJECT / "docs").glob("*.md"))
    if path.name not in ("python.md", "own-models.md", "CHANGELOG.md")
)
NAMED = pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LANGUAGES = {"yaml", "sh", "python", "text"}
# Programs of a shell block that are not this project's, each as its page tells to get it.
FOREIGN = {"ray"}
MINIMAL = {"run": "runs/x", "modalities": {"image": {}}}


class Block(NamedTuple):
    language: str
    text: str


def blocks(page: Path, language: str) -> list[str]:
    fences = [Block(*match) for match in FENCE.findall(page.read_text("utf-8"))]
    return [block.text for block in fences if block.language == language]


def prose(page: Path) -> str:
    return FENCE.sub("", page.read_text("utf-8"))


def commands(page: Path) -> Iterator[list[str]]:
    for block in blocks(page, "sh"):
        for line in block.splitlines():
            if words := shlex.split(line, comments=True):
                yield words


def headings(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def _with_full_path(match: re.Match[str]) -> str:
    return "output: /shared/" if match[0] == "output: " else f"/shared/{match[0]}"


@pytest.fixture
def decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what the pages' code reads, runs/birds/decoded, as the working directory."""
    (tmp_path / "data").mkdir()
    with tarfile.open(tmp_path / "data" / "birds-train-000000.tar", "w") as shard:
        for key in ("a", "b"):
            png = io.BytesIO()
            PIL.Image.new("RGB", (32, 24), "red").save(png, "PNG")
            member = tarfile.TarInfo(f"{key}.png")
            member.size = png.tell()
            png.seek(0)
            shard.addfile(member, png)
    (tmp_path / "my.yaml").write_text(
        "run: runs/birds\ninput: {train: data/birds-train-*.tar}\nmodalities: {image: {}}\n",
        "utf-8",
    )
    monkeypatch.chdir(tmp_path)
    assert _job.main(preprocess.JOB, ["my.yaml", "cluster.executor=here"]) == 0
    return tmp_path


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")])
def test_code_runs(page: Path, decoded: Path) -> None:
    for block in blocks(page, "python"):
        exec(compile(block, page.name, "exec"), {"__name__": "__main__"})
    assert PIL.Image.open(decoded / "row.png").size == (224, 224)


@NAMED
def test_every_block_is_fenced_and_says_what_it_is(page: Path) -> None:
    assert {match[0] for match in FENCE.findall(page.read_text("utf-8"))} <= LANGUAGES
    assert not re.findall(r"^    \S.*$", prose(page), re.MULTILINE), "a block without a fence"


@NAMED
def test_settings_are_valid(page: Path) -> None:
    """A block without a run is some sections of a configuration."""
    for block in blocks(page, "yaml"):
        tree = yaml.safe_load(block)
        validate(tree if "run" in tree else MINIMAL | tree, where=page.name)


@NAMED
def test_settings_that_the_text_names_are_there(page: Path) -> None:
    known = {path for path, _, _ in settings(Config)}
    sections = {".".join(path.split(".")[:depth]) for path in known for depth in range(1, 5)}
    tops = "|".join(sorted(Config.model_fields))
    named = re.findall(rf"`((?:{tops})\.[a-z_.0-9]+[a-z0-9])(?:=[^`]*|: [^`]*)?`", prose(page))
    files = {name for name in named if (PROJECT / name).exists() or name.endswith((".json", ".md"))}
    assert set(named) - sections - files == set()


@NAMED
def test_commands_are_there_and_take_what_they_are_given(page: Path, tmp_path: Path) -> None:
    (birds,) = [text for text in blocks(PROJECT / "README.md", "yaml") if "run:" in text]
    configuration = tmp_path / "my.yaml"
    # Full paths, as a cluster wants them.
    shared = re.sub(r"(runs/birds|data/birds|birds/table|output: )", _with_full_path, birds)
    configuration.write_text(shared, "utf-8")
    targets = re.findall(r"^(\w+):", (PROJECT / "Makefile").read_text("utf-8"), re.MULTILINE)
    for words in commands(page):
        if words[0] == "make":
            assert set(words[1:]) <= set(targets)
        elif "-m" in words and words[words.index("-m") + 1].startswith("jobs."):
            at = words.index("-m") + 1
            name, given = words[at].removeprefix("jobs."), words[at + 1 :]
            assert name in job_names()
            options = _parser_of(name).parse_intermixed_args(given)
            overrides = getattr(options, "overrides", [])
            load(configuration, [text for text in overrides if text.partition("=")[1]])
        elif "-m" in words:
            importlib.import_module(words[words.index("-m") + 1])
        else:
            assert words[0] in FOREIGN or words[0] == "eval", words


def test_modules_that_the_text_runs_are_there() -> None:
    for page in PAGES:
        for name in re.findall(r"python -m ((?:jobs|bench)\.\w+)", page.read_text("utf-8")):
            path = PROJECT / name.replace(".", "/")
            placeholder = name.endswith((".JOB", ".NAME", ".X"))
            assert placeholder or path.with_suffix(".py").is_file() or path.is_dir(), (page, name)


@NAMED
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", prose(page)):
        if target.startswith("https://"):
            continue
        path, _, anchor = unquote(target).partition("#")
        file = page if not path else page.parent / path
        assert file.exists(), target
        assert not anchor or anchor in headings(file), target


def test_every_reason_of_the_quarantine_is_told() -> None:
    text = (PROJECT / "docs" / "bad-data.md").read_text("utf-8")
    first_cells = re.findall(r"^\| (`.*?) \|", text.partition("## Filters")[0], re.MULTILINE)
    listed = {word for cell in first_cells for word in re.findall(r"`(\w+)`", cell)}
    assert listed <= set(meanings())
    assert set(meanings()) <= set(re.findall(r"`(\w+)`", text))


def test_every_page_is_reached_from_the_first() -> None:
    first = (PROJECT / "README.md").read_text("utf-8")
    for page in PAGES:
        assert page.parent == PROJECT or f"docs/{page.name}" in first, page
