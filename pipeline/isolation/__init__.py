"""Work in a process of its own, so that a crash, a hang or a hunger for memory costs one item and not the job.

Guard (here)                      child (child.py)
  request, care   ── connection ──▸  work(request, watch, care)
  what hangs?     ◂── journal ─────  begins / ticks / rests          shared memory
  table           ◂── arena ───────  columns, written in place       shared memory, never copied
"""

from pipeline.isolation.guard import Guard, Interrupted, Work
from pipeline.isolation.guards import Guards

__all__ = ["Guard", "Guards", "Interrupted", "Work"]
