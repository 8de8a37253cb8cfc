"""The page of a search: self-contained, escaped, and whole where a sample cannot be shown."""

import json
from dataclasses import replace

import pytest
from browser import Browser, find_browser
from page_reader import PageReader, structural_problems
from support.tones import png, wav

from pipeline.engine.search.gallery import said
from pipeline.modalities.shown import Shown
from pipeline.reports import search as search_module
from pipeline.reports.content import Example
from pipeline.reports.neighbours import Neighbour, RowPrediction, SearchAnswer, render_table
from pipeline.reports.search import SearchPage, ShownNeighbour, render

HOSTILE = "</title></style><script>alert(1)</script><img src=x onerror=alert(1)>\"'&$x$ {{ 7*7 }}"
ALL = {
    "text": Shown("text", HOSTILE),
    "image": Shown("picture", png()),
    "audio": Shown("sound", wav()),
}
REVERSED = "\u202egnp.exe\u0000\x1b[31m\ud800"


def hostile_page() -> SearchPage:
    example = Example(HOSTILE * 3, HOSTILE, "", shown=ALL, prediction=HOSTILE)
    bare = Example(REVERSED, "x" * 300, "", prediction=None)
    return SearchPage(
        title=HOSTILE,
        generated="now",
        query=Example("", "", "", shown={"text": Shown("text", HOSTILE)}),
        facts=[("embeddings", HOSTILE), ("column", "embedding")],
        neighbours=[
            ShownNeighbour(1, 0.98765, example, {HOSTILE: HOSTILE, "json": None}),
            ShownNeighbour(2, -0.5, bare, {}, ["the shard is not there", HOSTILE]),
        ],
    )


def test_hostile_data_stays_text() -> None:
    page = render(hostile_page())
    page.encode("utf-8")
    assert structural_problems(page) == []
    reader = PageReader(page)
    assert reader.all("script") == []
    assert len(reader.all("img")) == len(reader.all("audio")) == 1
    assert HOSTILE in reader.text
    assert "49" not in reader.text, "nothing in the data is a template"
    assert "the shard is not there" in reader.text
    assert "0.9877" in reader.text
    assert "-0.5000" in reader.text
    assert all(a.startswith(("data:", "#")) for a in reader.addresses() if a is not None)


def test_it_fits_a_phone_and_asks_for_nothing(tmp_path) -> None:
    path = tmp_path / "page.html"
    path.write_text(render(hostile_page()), encoding="utf-8")
    if find_browser() is None:
        pytest.skip("no browser here; the structure is tested all the same")
    with Browser(tmp_path / "profile") as browser:
        for width in (390, 1400):
            browser.open(path, width)
            assert browser.evaluate("document.documentElement.scrollWidth") <= width
            asked = [
                event["params"]["request"]["url"]
                for event in browser.events
                if event.get("method") == "Network.requestWillBeSent"
            ]
            assert [url for url in asked if not url.startswith(("data:", "file:"))] == []
        broken = "[...document.images].filter(i => !i.complete || !i.naturalWidth).length"
        assert browser.evaluate(broken) == 0


def test_a_page_does_not_grow_without_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_module, "MAX_PAGE_BYTES", 20_000)
    sounds = [
        ShownNeighbour(i, 0.5, Example(f"k{i}", "s", "", shown={"audio": Shown("sound", wav())}))
        for i in range(9)
    ]
    page = render(SearchPage("t", "now", Example("q", "s", ""), neighbours=sounds))
    reader = PageReader(page)
    assert 0 < len(reader.all("audio")) < 9
    assert reader.text.count("this page would become too large") == 9 - len(reader.all("audio"))


def answer(*neighbours: Neighbour) -> SearchAnswer:
    return SearchAnswer({"text": "a"}, "out", "embedding", "exact", 10, 1234, neighbours)


def test_an_answer_has_the_keys_that_its_rows_have_and_is_read_as_it_was_written() -> None:
    bare = Neighbour(1, 0.5, "s.tar", "k")
    full = replace(
        bare,
        modalities=("image",),
        predicted=RowPrediction([1.5], 0.5),
        metadata={"a": 1},
        text="t",
    )
    tree = json.loads(json.dumps(answer(bare, full).to_json()))
    names = "query output column index top rows_compared neighbours"
    assert list(tree) == names.split()
    first, second = tree["neighbours"]
    assert list(first) == ["rank", "score", "shard", "key", "metadata", "text"]
    said_keys = ["modalities", "prediction", "prediction_score"]
    assert list(second) == [*list(first)[:4], *said_keys, "metadata", "text"]
    assert (second["prediction"], second["prediction_score"]) == ([1.5], 0.5)
    assert SearchAnswer.from_json(tree) == answer(bare, full)


def test_the_table_has_no_control_characters() -> None:
    neighbour = Neighbour(
        rank=1,
        score=0.5,
        shard="a\nb.tar",
        key="\x1b[31mred" + "長" * 60,
        metadata={"json": '{"a": "\u202e"}', "none": None},
    )
    report = answer(neighbour, replace(neighbour, rank=10, metadata={}))
    lines = render_table(report, {"html": "x.html"}).splitlines()
    assert lines[0].split() == ["rank", "score", "shard", "key", "metadata"]
    assert all(character.isprintable() for line in lines for character in line)
    assert lines[3] == "of all 1,234 rows, by the column embedding"
    assert lines[4:] == ["only 2 of 10 were found", "html: x.html"]


def test_what_a_model_says_is_told_in_words_whatever_it_predicts() -> None:
    assert said("low") == "low"
    assert said(3.14159265) == "3.142"
    assert said([1.5, 2.0]) == "1.5, 2"
    assert said(["a", "b"]) == "a, b"
    assert said(None) is None
