"""The page in a real browser where there is one; in the parser everywhere."""

import pytest
from browser import Browser, find_browser
from page_reader import structural_problems

from pipeline.reports.content import ReportData
from pipeline.reports.page import render


@pytest.fixture(scope="module")
def pages(report_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    made = {"finished": render(report_data), "empty": render(ReportData("x" * 300, "now"))}
    paths = {}
    for name, page in made.items():
        paths[name] = folder / f"{name}.html"
        paths[name].write_text(page, encoding="utf-8")
    return paths


@pytest.mark.parametrize("name", ["finished", "empty"])
def test_page_needs_no_network_and_fits_a_phone(pages, name, tmp_path):
    assert structural_problems(pages[name].read_text(encoding="utf-8")) == []
    if find_browser() is None:
        return  # the structure is all that can be seen without a browser
    with Browser(tmp_path) as browser:
        for width in (390, 1400):
            browser.open(pages[name], width)
            assert browser.evaluate("document.documentElement.scrollWidth") <= width
            assert browser.evaluate("innerWidth") == width
            assert _problems(browser.events, pages[name].as_uri()) == []
        broken = "[...document.images].filter(i => !i.complete || !i.naturalWidth).length"
        assert browser.evaluate(broken) == 0
        failed = "[...document.querySelectorAll('audio')].filter(a => a.error).length"
        assert browser.evaluate(failed) == 0


def _problems(events, address):
    """What the browser complained about, and what it asked for besides the page itself."""
    problems = []
    for event in events:
        method, params = event.get("method"), event.get("params", {})
        if method in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"):
            problems.append(str(params)[:300])
        if method == "Network.requestWillBeSent":
            url = params["request"]["url"]
            if url != address and not url.startswith("data:"):
                problems.append(url)
    return problems
