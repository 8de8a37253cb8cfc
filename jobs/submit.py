"""Hands a job to a Ray cluster, follows its log, and ends with its exit code.

    python -m jobs.submit JOB CONFIG.yaml [dotted.path=value ...] [--address URL] [--json] [--dry-run]
                          [-- FLAGS OF THE JOB]

The job's output goes to stdout; with --json it goes to stderr, and stdout is the job's JSON.
"""

from __future__ import annotations

import argparse
import difflib
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from jobs._job import program
from pipeline import logs
from pipeline.errors import ConfigError, PipelineError

INTERRUPTED = 130
_NOT_JOBS = {"submit", "demo", "init"}  # the demo starts jobs itself, on this machine


def main(arguments: Sequence[str] | None = None) -> int:
    """Submits one job and waits for it.

    Args:
        arguments: The command line without the program; None for the process's own.

    Returns:
        The job's exit code; 2 for a wrong command line, 1 if the cluster cannot be reached, 130 on
        Ctrl-C, after which the job has been told to stop.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    end = words.index("--") if "--" in words else len(words)
    options = build_parser().parse_intermixed_args(words[:end])
    logs.set_up()
    output = _Output(as_json=options.json)
    try:
        _check(options.job)
        from pipeline.engine.cluster.submit import plan, submit

        if options.dry_run:
            job_words = [*options.overrides, *words[end + 1 :]]
            print(
                plan(options.job, options.config, job_words, options.address, as_json=options.json)
            )
            return 0
        code = submit(
            options.job,
            options.config,
            [*options.overrides, *words[end + 1 :]],
            write=output.write,
            address=options.address,
            submission_id=options.submission_id,
            as_json=options.json,
        )
    except PipelineError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        code = error.exit_code
    except KeyboardInterrupt:
        print("interrupted; the job has been told to stop", file=sys.stderr)
        code = INTERRUPTED
    output.close()
    return code


class _Output:
    """Sends a job's output on; with --json, sets the JSON object in it apart.

    A job's stdout and stderr come back as one text. The object is what begins at the last line
    that starts with a brace.
    """

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._line = ""
        self._held: list[str] = []

    def write(self, piece: str) -> None:
        if not self._as_json:
            sys.stdout.write(piece)
            sys.stdout.flush()
            return
        *lines, self._line = (self._line + piece).split("\n")
        for line in lines:
            self._take(line + "\n")

    def close(self) -> None:
        self._take(self._line)
        text = "".join(self._held)
        try:
            _, end = json.JSONDecoder().raw_decode(text)
        except ValueError:
            end = 0
        if end:
            print(text[:end], flush=True)
        sys.stderr.write(text[end:].lstrip("\n"))

    def _take(self, line: str) -> None:
        if line.startswith("{"):
            sys.stderr.write("".join(self._held))
            self._held = [line]
        elif self._held:
            self._held.append(line)
        else:
            sys.stderr.write(line)


def _check(job: str) -> None:
    names = sorted(path.stem for path in Path(__file__).parent.glob("[!_]*.py"))
    choices = [name for name in names if name not in _NOT_JOBS]
    if not (Path(__file__).parent / f"{job}.py").is_file() or job in _NOT_JOBS:
        near = difflib.get_close_matches(job, choices, n=1)
        raise ConfigError(
            f"there is no job {job} to submit",
            where="command line",
            fix=f"did you mean {near[0]}?" if near else f"choose one of {', '.join(choices)}",
        )


def build_parser() -> argparse.ArgumentParser:
    """The command line of a submission."""
    parser = argparse.ArgumentParser(
        prog=program("submit"),
        description="Hand a job to a Ray cluster, follow its log, end with its exit code.",
    )
    parser.add_argument("job", help="the job: train, infer, ...")
    parser.add_argument("config", type=Path, help="its configuration; it travels with the code")
    parser.add_argument(
        "overrides",
        nargs="*",
        default=[],
        metavar="dotted.path=value",
        help="settings that replace the file's, none or several; behind --, flags of the job",
    )
    parser.add_argument(
        "--address", help="http://HOST:8265; else RAY_API_SERVER_ADDRESS or RAY_ADDRESS"
    )
    parser.add_argument(
        "--submission-id", help="name of this submission; one known already is followed, not rerun"
    )
    parser.add_argument("--json", action="store_true", help="stdout is the job's JSON object")
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="print what would be handed to which cluster, and end; behind --, it is the job's own flag",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
