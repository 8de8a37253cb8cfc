"""Nearest neighbours of a text, an image, a sound or a row, among the embeddings that jobs.infer wrote.

    python -m jobs.search CONFIG.yaml [dotted.path=value ...] --text "a dog in snow" [--in image] [--top 20]
    python -m jobs.search CONFIG.yaml [dotted.path=value ...] --image dog.jpg --html found.html
    python -m jobs.search CONFIG.yaml [dotted.path=value ...] --key 000481 [--shard test-000000.tar] [--json]

Several of --text, --image and --audio are one sample of several modalities. The output that infer.output names is read
as its manifest lists it, and the model that wrote it embeds the query; --key asks no model. Nothing is written but the
page, and the index that search.index=usearch keeps in RUN/search.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from jobs import _job
from jobs._job import Job, settings_help
from jobs._job.given import add_given, flags_in_words, given
from pipeline import storage
from pipeline.config import Config
from pipeline.errors import ConfigError
from pipeline.reports.neighbours import SearchAnswer, render_table
from pipeline.runs import Summary, process_clock

if TYPE_CHECKING:
    from pipeline.engine.search.query import Question

SECTIONS = ("run", "input", "modalities", "infer", "search", "limits")
MAX_TOP = 10_000  # neighbours are held in memory


def main(arguments: Sequence[str] | None = None) -> int:
    """Searches; returns the exit code."""
    options = build_parser().parse_intermixed_args(arguments)
    overrides = [*options.overrides, *([f"search.index={options.index}"] if options.index else [])]
    return _job.main(job_for(options), [options.config, *overrides, *_job.passed_on(options)])


def job_for(options: argparse.Namespace) -> Job:
    """The job that answers one question."""

    def work(config: Config, summary: Summary) -> None:
        from pipeline.engine.cluster.signals import as_interrupt
        from pipeline.engine.search.gallery import neighbour_texts
        from pipeline.engine.search.plan import report, search

        question = _question(options)
        with as_interrupt():
            summary.first_sample = process_clock()
            answer = search(config, question)
            texts = neighbour_texts(config, answer)
            summary.report = report(config, question, answer, texts).to_json()
            summary.metrics = {"rows_compared": float(answer.compared)}
            if options.html is not None:
                from pipeline.engine.search.gallery import gallery
                from pipeline.reports.search import render

                page = render(gallery(config, question, answer))
                storage.write_bytes(options.html, page.encode())
                summary.outputs = {"html": options.html}

    def plan(config: Config) -> str:
        from pipeline.engine.search.plan import listing, snapshot

        _question(options)
        written = snapshot(config, listing(config)[0])
        rows, files = int(written.starts[-1]), len(written.files)
        return f"would search {rows} rows in {files} files of {written.output}"

    return Job(
        name="search",
        about=__doc__ or "",
        output=lambda config: config.folder("embeddings", config.infer.output),
        work=work,
        plan=plan,
        sections=SECTIONS,
        locked=False,
        keeps_summary=False,
        answer=lambda summary: render_table(
            SearchAnswer.from_json(summary.report), summary.outputs
        ),
    )


def _question(options: argparse.Namespace) -> Question:
    """What the command line asks.

    Raises:
        ConfigError: Nothing, or what does not go together.
    """
    from pipeline.engine.search.query import Question

    question = Question(
        given=given(options),
        key=options.key,
        shard=options.shard,
        column=options.column,
        among=options.among,
        by=options.by,
        top=options.top,
    )
    wrong = ""
    if question.key is None and not question.given:
        wrong = "nothing is asked for"
    elif empty := [name for name, value in question.given.items() if not value.strip()]:
        wrong = f"nothing is asked for: --{empty[0]} is empty"
    elif question.key is not None and question.given:
        wrong = f"--key does not go with --{next(iter(question.given))}"
    elif question.key is None and (question.shard is not None or question.by is not None):
        wrong = f"--{'from' if question.shard is None else 'shard'} goes with --key only"
    elif question.column is not None and question.among is not None:
        wrong = "--column does not go with --in"
    elif question.top is not None and not 1 <= question.top <= MAX_TOP:
        wrong = f"--top is {question.top}, and not between 1 and {MAX_TOP}"
    if wrong:
        fix = f"give {flags_in_words()}, or --key of a row"
        raise ConfigError(wrong, where="command line", fix=fix if "ask" in wrong else "see --help")
    return question


def build_parser() -> argparse.ArgumentParser:
    """The command line of a search."""
    parser = argparse.ArgumentParser(
        prog=_job.program("search"),
        description=__doc__,
        epilog=settings_help(SECTIONS),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    _job.add_configuration(parser, SECTIONS)
    add_given(parser, "what to search for")
    add("--key", help="key of a row, whose neighbours are wanted; the row itself is left out")
    add("--shard", help="of --key, where several shards have it")
    add("--top", type=int, metavar="K", help="neighbours wanted; 10, or as many as there are")
    add("--in", dest="among", metavar="MODALITY", help="in a shared space: which modality's")
    add("--from", dest="by", metavar="MODALITY", help="in a shared space: which of --key's own")
    add("--column", help="the column to search; embedding by default")
    add("--index", choices=("exact", "usearch"), help="the same as search.index=")
    add(
        "--html", metavar="FILE", help="writes a page with the neighbours' images, texts and sounds"
    )
    _job.add_flags(parser, "print what would be searched, and end")
    return parser


if __name__ == "__main__":
    sys.exit(main())
