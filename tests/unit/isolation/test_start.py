"""A decoding process that is ended before it has its work."""

import os
import signal

import pytest

from pipeline.errors import InputError
from pipeline.isolation import Guard, guard
from pipeline.limits import Limits


def echo(request: str, *_: object) -> dict[str, str]:
    return {"heard": request}


@pytest.mark.parametrize("ended", [1, 3])
def test_another_is_started_in_its_place(monkeypatch: pytest.MonkeyPatch, ended: int) -> None:
    start, started = guard.start_child, list[int]()

    def start_and_kill(*arguments):
        server, pid = start(*arguments)
        started.append(pid)
        if len(started) <= ended:
            os.kill(pid, signal.SIGKILL)
        return server, pid

    monkeypatch.setattr(guard, "start_child", start_and_kill)
    decoding = Guard(echo, ("image",), Limits())
    try:
        if ended < guard.DEATHS_AT_REST:
            assert decoding("x", detail="x.tar") == {"heard": "x"}
            assert len(started) == ended + 1
        else:
            with pytest.raises(InputError, match="ended 3 times.*SIGKILL"):
                decoding("x", detail="x.tar")
    finally:
        decoding.close()
