"""What ``--dry-run`` says: the parts to do and how they will be done, without doing anything."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pipeline.config import Config, Patterns
from pipeline.engine.decoding.decoded_folder import is_decoded
from pipeline.engine.executors.batch import BatchJob
from pipeline.engine.executors.workplace import Workplace
from pipeline.engine.plans.prepare import plan_parts

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


def explain_job(config: Config, build: Callable[[Config, Workplace], BatchJob]) -> str:
    """The parts of a batch job that are to do, and how they will be done, as text."""
    with Workplace(config.cluster) as workplace:
        job = build(config, workplace)
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
        if job.todo:
            executor = workplace.executor(len(job.todo))
            pool = None if job.pool is None else job.pool(executor.resources)
            lines.append(executor.describe(pool))
    return "\n".join(lines)
