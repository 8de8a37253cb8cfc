"""What ``--dry-run`` says: the parts to do and how they will be done, without doing anything."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pipeline.config import Config, Patterns
from pipeline.engine.cluster.session import connect, num_cpus
from pipeline.engine.decoding.decoded_folder import is_decoded
from pipeline.engine.executors.batch import BatchJob
from pipeline.engine.infer.predictors import PredictorPool
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
        lines.append(_how(job.pool))
    return "\n".join(lines)


def _how(pool: PredictorPool | None) -> str:
    """Which processes do the parts of a job."""
    if pool is None:
        return f"each is decoded and written by one task, on {num_cpus()} CPUs"
    share = pool.share()
    size = f"{share.actor_gpus:g} GPUs" if share.actor_gpus else f"{pool.num_cpus:g} CPUs"
    if pool.whole_parts:
        return (
            "each is decoded, predicted and written by one task, "
            f"{pool.num_actors} at a time of {size} each"
        )
    return (
        f"each is decoded by a task of {share.decode_cpus:g} CPUs, predicted by one of "
        f"{pool.num_actors} actors of {size} each, and written by a task; "
        f"at most {share.parts_at_once} at a time"
    )
