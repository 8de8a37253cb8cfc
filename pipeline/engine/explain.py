"""What ``--dry-run`` says: the parts to do and Ray's plan, without doing anything."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Mapping

from pipeline.config import Config, Patterns
from pipeline.engine.batch import BatchJob
from pipeline.engine.cluster import connect, num_cpus
from pipeline.engine.decoded import is_decoded
from pipeline.engine.prepare import plan_parts

SHOWN = 10  # parts listed one by one


def explain_input(config: Config, inputs: Mapping[str, Patterns | None]) -> str:
    """The parts of splits or patterns, as text."""
    lines: list[str] = []
    for name, patterns in inputs.items():
        if patterns is None:
            continue
        parts = plan_parts(config, patterns, name)
        lines.append(f"{name}: {len(parts)} parts of {len({part.shard for part in parts})} shards")
    return "\n".join(lines)


def explain_job(config: Config, build: Callable[[Config], BatchJob]) -> str:
    """The parts of a batch job that are to do, and how they will be done, as text."""
    with connect(config.cluster):
        job = build(config)
        job.check()
        done = job.sink.done(job.parts)
        job.todo = [part for part in job.parts if part.id not in done]
        lines = [f"parts to do: {len(job.todo)} of {len(job.parts)}"]
        lines += [
            f"  {part.shard} from {'row' if is_decoded(part) else 'byte'} {part.start}"
            for part in job.todo[:SHOWN]
        ]
        if len(job.todo) > SHOWN:
            lines.append(f"  and {len(job.todo) - SHOWN} more")
        if job.pool is None:
            lines.append(f"each is decoded and written by one task, on {num_cpus()} CPUs")
        elif job.todo:
            with contextlib.redirect_stdout(io.StringIO()) as printed:
                job.plan(job.pool, job.todo).explain()  # type: ignore[no-untyped-call]
            lines.append(printed.getvalue().rstrip())
    return "\n".join(lines)
