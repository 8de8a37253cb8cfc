"""No module outside a modality's folder knows its name: neither as a word, nor by its classes, nor by its modules.

A file that must is listed with the reason. Words that happen to be a kind's name (a text on a page, the image of a
container) are listed too: the list is of places that a reader need not look at again.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.modalities import kinds

PROJECT = Path(__file__).parents[2]
SECTIONS = {section.__name__ for section in kinds().values()}

# File -> why it may name kinds of modalities.
MAY = {
    "pipeline/modalities/__init__.py": "the union",
    "pipeline/modalities/inputs.py": "what networks from elsewhere want to be given, by kind",
    "pipeline/modalities/pretrained/": "a loader says of which kinds its towers are",
    "jobs/demo_source/data.py": "the demo's own data set",
}
# File -> what the word means there that is also a kind's name.
HOMONYMS = {
    "pipeline/inspection/table.py": "the format",
    "pipeline/isolation/answer.py": "the key of a message",
    "pipeline/modalities/content.py": "the format",
    "pipeline/modalities/shown.py": "the medium",
    "pipeline/nightly/emit.py": "the image of a container",
    "pipeline/packing/tables/columns.py": "a field's usual name",
    "pipeline/reports/media.py": "the medium",
    "pipeline/reports/neighbours.py": "the JSON key of what can be read of a neighbour",
    "pipeline/reports/svg.py": "the element of SVG",
    "pipeline/reports/views.py": "the medium",
    "pipeline/settings_page.py": "the type of a setting",
}
# Labels and metadata are texts, read and normalised by the rules of texts.
TEXT_RULES = ("pipeline.modalities.text.repair", "pipeline.modalities.text.codec")
READ_AS_TEXTS = (
    "pipeline/inspection/census.py",
    "pipeline/modalities/decoding/targets.py",
    "pipeline/modalities/decoding/members.py",
    "pipeline/objectives/",
)


def sources() -> Iterator[str]:
    """The files that are in no modality's folder."""
    own = tuple(f"pipeline/modalities/{kind}/" for kind in kinds())
    for folder in ("pipeline", "jobs"):
        for path in sorted((PROJECT / folder).rglob("*.py")):
            name = path.relative_to(PROJECT).as_posix()
            if not name.startswith(own):
                yield name


def namings(source: str) -> Iterator[str]:
    """What a module names of modalities: words, sections, and modules of their folders."""
    folders = tuple(f"pipeline.modalities.{kind}" for kind in kinds())
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and node.value in kinds():
            yield repr(node.value)
        elif isinstance(node, ast.Name) and node.id in SECTIONS:
            yield node.id
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith(folders):
            yield str(node.module)
        elif (
            isinstance(node, ast.Attribute)
            and node.attr in kinds()
            and isinstance(node.value, ast.Attribute)
            and node.value.attr == "modalities"
        ):
            yield f"modalities.{node.attr}"


@pytest.mark.parametrize("name", list(sources()))
def test_a_module_names_no_modality(name: str) -> None:
    if name.startswith(tuple(MAY)):
        return
    named = set(namings((PROJECT / name).read_text("utf-8")))
    if name.startswith(READ_AS_TEXTS):
        named -= set(TEXT_RULES)
    if name in HOMONYMS:
        named = {each for each in named if not each.startswith("'")}
    assert not named, "ask the modality, by a facet of pipeline.modalities.base.ModalityConfig"


def test_the_lists_of_exceptions_are_as_short_as_may_be() -> None:
    for name in (*MAY, *HOMONYMS, *READ_AS_TEXTS):
        path = PROJECT / name
        files = path.rglob("*.py") if path.is_dir() else [path]
        assert any(list(namings(file.read_text("utf-8"))) for file in files), f"{name} names none"


@pytest.mark.parametrize(
    "source",
    [
        "if name == 'audio': pass",
        "from pipeline.modalities.image.codec import ImageCodec",
        "assert isinstance(config, TextConfig)",
        "config.modalities.text",
    ],
)
def test_what_would_be_a_naming(source: str) -> None:
    assert list(namings(source))
