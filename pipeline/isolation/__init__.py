"""Work in a process of its own, so that a crash, a hang or a hunger for memory costs one item and not the job.

Guard (here)                      child (child.py)
  request, care   ── connection ──▸  work(request, watch, care)
  what hangs?     ◂── journal ─────  begins / ticks / rests          shared memory
  table           ◂── arena ───────  columns, written in place       shared memory, never copied
"""

from pipeline.isolation.guard import Guard, Work

__all__ = ["Guard", "Work"]
