"""No module outside an objective's own folder names its kind, its metric, its columns, or what it learns."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

from pipeline.objectives import kinds

ROOT = Path(__file__).parents[2]
# Where objectives live, the formulas that they are judged by, and pretrained models with columns of the same names.
INSIDE = ("pipeline/objectives/", "pipeline/metrics/", "pipeline/modalities/pretrained/generators/")
LEARNED = {
    "classes": ["a", "b"], "mean": [0.0], "deviation": [1.0], "thresholds": [0.5, 0.5], "embeds": ["image", "text"],
}  # fmt: skip
# Words of the field that say nothing of one objective.
GENERAL = {"embedding", "score", "loss", "targets", "thresholds", "mean", "deviation", "tokens"}
# Kinds that are words of the field, too: names of variables are that (the contrast of a picture), strings are kinds.
HOMONYMS = {"contrast"}
# Module -> words that it may say, and why.
ALLOWED: Mapping[str, tuple[set[str], str]] = {
    "pipeline/api/batches.py": ({"classes"}, "a loop of one's own numbers labels by the names that it gives"),
    "pipeline/api/samples.py": ({"classes"}, "as its batches"),
    "pipeline/packing/census.py": ({"classes"}, "pack counts values of a field that repeat, whatever learns from them"),
    "pipeline/packing/pack.py": ({"classes"}, "as its census"),
    "pipeline/modalities/content.py": ({"caption"}, "a file's extension, of texts"),
    "pipeline/packing/tables/columns.py": ({"caption", "transcript"}, "columns of other people's tables of texts"),
    "pipeline/packing/split.py": ({"classes"}, "a stratified split is by such values"),
    "pipeline/inspection/table.py": ({"classes"}, "classes of a style sheet"),
    "pipeline/starter/draft.py": ({"classify"}, "a first configuration proposes one where labels repeat"),
    "pipeline/reports/content.py": ({"prediction", "probabilities"}, "what any model says of an example, in words"),
    "pipeline/reports/section.py": ({"prediction", "probabilities"}, "as content.py, which it fills"),
    "pipeline/reports/views.py": ({"prediction", "probabilities"}, "as content.py, which it shows"),
    "pipeline/reports/page.py": ({"prediction"}, "tells examples of the data from those of a model"),
    "pipeline/reports/neighbours.py": ({"prediction"}, "as content.py"),
    "pipeline/engine/plans/examples.py": ({"prediction", "probabilities"}, "fills content.py by an objective's choice"),
    "pipeline/engine/search/gallery.py": ({"prediction"}, "shows the column of that name, whatever is in it"),
    "pipeline/engine/search/plan.py": ({"prediction"}, "as its gallery"),
    "pipeline/engine/search/query.py": ({"prediction"}, "as its gallery"),
}  # fmt: skip


def words_of_objectives() -> set[str]:
    words: set[str] = set()
    for kind in kinds():
        objective = kind()
        words |= {objective.kind, objective.metric, objective.score.name, *LEARNED}
        words |= {field.name for field in objective.schema(LEARNED)}
        words |= set(objective.footer(LEARNED))
    return words - GENERAL


def said(source: str) -> Iterator[str]:
    """Names and string constants of a module, its documentation and its imports aside."""
    tree = ast.parse(source)
    documents = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if id(node) not in documents:
                yield node.value
        elif (name := name_of(node)) not in HOMONYMS:
            yield name


def name_of(node: ast.AST) -> str:
    """The name that a node of a module's tree says; empty where it says none."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return node.attr
    if isinstance(node, ast.arg | ast.keyword):
        return node.arg or ""
    return node.name if isinstance(node, ast.FunctionDef | ast.ClassDef) else ""


def outside() -> dict[str, set[str]]:
    """Module -> words of objectives that it says."""
    words = words_of_objectives()
    found = {}
    for path in sorted([*ROOT.glob("pipeline/**/*.py"), *ROOT.glob("jobs/**/*.py")]):
        name = str(path.relative_to(ROOT))
        if not name.startswith(INSIDE):
            mentioned = words & set(said(path.read_text("utf-8")))
            found |= {name: mentioned} if mentioned else {}
    return found


def test_no_module_outside_knows_an_objective() -> None:
    strangers = {
        name: sorted(words - ALLOWED.get(name, (set(), ""))[0])
        for name, words in outside().items()
        if words - ALLOWED.get(name, (set(), ""))[0]
    }
    assert strangers == {}


def test_what_is_allowed_is_still_needed() -> None:
    found = outside()
    for name, (words, why) in ALLOWED.items():
        assert why
        assert words <= found.get(name, set()), name


def test_a_module_that_knew_one_would_be_found() -> None:
    words = words_of_objectives()
    assert {
        "classify",
        "regress",
        "accuracy",
        "mae",
        "probabilities",
        "prediction",
        "classes",
    } <= words
    for source in (
        'row["accuracy"]',
        "def accuracy(): ...",
        "x.classes",
        "f(probabilities=1)",
        "mae = 1",
        "kind = 'contrast'",
    ):
        assert words & set(said(source)), source
    assert not words & set(said("contrast = pixels.std()"))
    assert not words & set(said('"""Accuracy, classes."""\nfrom pipeline.prediction import spec'))
