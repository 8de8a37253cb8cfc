"""The report's section on what was left out."""

from page_reader import PageReader, structural_problems

from pipeline.cleaning.report import CleaningReport
from pipeline.objectives.classify.section import ClassSection
from pipeline.reports.content import QuarantineRow, ReportData, SplitCounts
from pipeline.reports.page import render

FOUND = {
    "job": "train",
    "settings": {"duplicates": "near", "leakage": "report"},
    "splits": {
        "train": {
            "samples": 1000,
            "left_out": 31,
            "found": {"filtered_duplicate": 20, "filtered_near_duplicate": 11, "filtered_leak": 7},
        },
        "val": {"samples": 100, "left_out": 0, "found": {"filtered_duplicate": 0}},
    },
    "parts_not_compared": 2,
    "examples": [
        {
            "reason": "filtered_leak",
            "meaning": "a copy",
            "split": "train",
            "shard": "train-0.tar",
            "key": "<b>s1</b>",
            "of_split": "test",
            "of_shard": "test-0.tar",
            "of_key": "s2",
        }
    ],
}


def test_a_record_is_read_as_it_was_written() -> None:
    assert CleaningReport.from_json(FOUND).to_json() == FOUND


def page_of(data: ReportData) -> tuple[str, str]:
    """The page without line breaks, and its text."""
    page = render(data)
    assert structural_problems(page) == []
    return " ".join(page.split()), " ".join(PageReader(page).text.split())


def test_every_search_and_every_filter_has_a_line() -> None:
    rows = [
        QuarantineRow("x.tar", f"k{i}", "png", reason, "")
        for i, reason in enumerate(["filtered_size", "filtered_size", "bad_image", "filtered_leak"])
    ]
    data = ReportData(
        title="r",
        generated="now",
        splits={"train": SplitCounts(4, {"a": 44, "b": 4})},
        quarantine=rows,
        section=ClassSection(),
        filters={"image.min_side": 32, "text.scripts": "Latin, Han"},
        cleaning=[CleaningReport.from_json(FOUND)],
    )
    page, text = page_of(data)
    assert "<bdi>min_side 32</bdi></td><td>2</td>" in page
    assert "<bdi>scripts Latin, Han</bdi></td><td>0</td>" in page, "none is told too"
    assert '<td>1 000</td><td>20</td><td class="words">left out</td>' in page
    assert '<td>11</td><td class="words">left out</td>' in page
    assert '<td>7</td><td class="words">only counted</td>' in page
    assert "<b>s1</b>" in text
    assert "2 parts of preprocessed folders were not compared" in text
    assert "1 set aside" in text, "what is filtered is not bad"
    assert "Uneven labels in train: the largest class has 11 times" in text


def test_nothing_asked_for_nothing_shown() -> None:
    assert "Cleaning" not in page_of(ReportData(title="r", generated="now"))[1]
