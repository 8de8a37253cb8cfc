"""Memory of a process that decodes many clips."""

from __future__ import annotations

import psutil
from support.clips import clip

from pipeline.modalities import ModalitiesConfig

CLIPS = 200


def test_memory_is_flat_over_many_clips() -> None:
    codec = (
        ModalitiesConfig.model_validate({"video": {"size": 32, "frames": 3}})
        .by_name()["video"]
        .codec(None)
    )
    forms = [
        (form, memoryview(clip(form, 6, 320, 240))) for form in ("mp4", "webm", "avi", "mjpeg")
    ]
    process = psutil.Process()
    held = []
    for number in range(CLIPS):
        form, data = forms[number % len(forms)]
        codec.decode(data, form)
        if number in (CLIPS // 4, CLIPS - 1):
            held.append(process.memory_info().rss)
    # A frame of these is 230 kB: one that stays behind for each clip would be 35 MB.
    assert held[1] - held[0] < 8 << 20
