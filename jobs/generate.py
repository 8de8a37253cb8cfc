"""One caption, transcript, picture or sound, of what is given on the command line.

    python -m jobs.generate CONFIG.yaml [dotted.path=value ...] --image photo.jpg
    python -m jobs.generate CONFIG.yaml [dotted.path=value ...] --text "the digit seven" --seed 3 --out seven.png

The model is the one that infer.model names, RUN/model by default, and any model that infer runs can be asked. Texts and
numbers are printed; a picture or a sound is written to --out. Nothing else is written.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from jobs import _job
from jobs._job import Job, settings_help
from jobs._job.given import add_given, flags_in_words, given
from pipeline import storage
from pipeline.config import Config
from pipeline.errors import ConfigError
from pipeline.runs import Summary, process_clock

SECTIONS = ("run", "modalities", "infer", "limits")


def main(arguments: Sequence[str] | None = None) -> int:
    """Asks the model; returns the exit code."""
    options = build_parser().parse_intermixed_args(arguments)
    seed = [] if options.seed is None else [f"infer.seed={options.seed}"]
    return _job.main(
        job_for(options), [options.config, *options.overrides, *seed, *_job.passed_on(options)]
    )


def job_for(options: argparse.Namespace) -> Job:
    """The job that makes one thing."""

    def work(config: Config, summary: Summary) -> None:
        from pipeline.engine.cluster.signals import as_interrupt
        from pipeline.engine.given.generate import check_place, content_to_write, generate

        sample = _sample(options)
        if options.out is not None:
            check_place(options.out)
        with as_interrupt():
            summary.first_sample = process_clock()
            generated = generate(config, sample)
            content = content_to_write(generated, options.column, options.out)
            summary.report = dict(generated.values)
            if content is not None:
                storage.write_bytes(options.out, content)
                summary.outputs = {"out": options.out}

    def plan(config: Config) -> str:
        from pipeline.engine.given.decoded import single_spec
        from pipeline.prediction.spec import open_model

        names = ", ".join(_sample(options))
        columns = ", ".join(field.name for field in open_model(single_spec(config)).fields)
        return (
            f"would ask {config.folder('model', config.infer.model)} about {names}, for {columns}"
        )

    return Job(
        name="generate",
        about=__doc__ or "",
        output=lambda config: config.run,
        work=work,
        plan=plan,
        sections=SECTIONS,
        locked=False,
        keeps_summary=False,
        after_interrupt="nothing was written",
        answer=_answer,
    )


def _sample(options: argparse.Namespace) -> dict[str, str]:
    """What the command line gives.

    Raises:
        ConfigError: Nothing.
    """
    sample = given(options)
    wrong = "nothing is given" if not sample else ""
    if empty := [name for name, value in sample.items() if not value.strip()]:
        wrong = f"nothing is given: --{empty[0]} is empty"
    if wrong:
        raise ConfigError(wrong, where="command line", fix=f"give {flags_in_words()}")
    return sample


def _answer(summary: Summary) -> str:
    lines = [f"{name}: {value}" for name, value in summary.report.items()]
    lines += [f"written to {place}" for place in summary.outputs.values()]
    return "\n".join(lines)


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog=_job.program("generate"),
        description=__doc__,
        epilog=settings_help(SECTIONS),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    _job.add_configuration(parser, SECTIONS)
    add_given(parser, "what the model is given")
    add("--seed", type=int, metavar="N", help="the same as infer.seed=")
    add("--out", metavar="FILE", help="where the picture, the sound or the text is written")
    add("--column", metavar="NAME", help="what is written, where the model makes several things")
    _job.add_flags(parser, "print what would be asked, and end")
    return parser


if __name__ == "__main__":
    sys.exit(main())
