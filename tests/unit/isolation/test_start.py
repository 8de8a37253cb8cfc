"""A decoding process that is ended before it has its work."""

import subprocess

import pytest

from pipeline.errors import InputError
from pipeline.isolation import Guard, guard
from pipeline.limits import Limits


def echo(request: str, *_: object) -> dict[str, str]:
    return {"heard": request}


@pytest.mark.parametrize("ended", [1, 3])
def test_another_is_started_in_its_place(monkeypatch: pytest.MonkeyPatch, ended: int) -> None:
    start, started = subprocess.Popen, list[int]()

    def start_and_kill(*arguments, **options):
        process = start(*arguments, **options)
        started.append(process.pid)
        if len(started) <= ended:
            process.kill()
            process.wait()
        return process

    monkeypatch.setattr(guard.subprocess, "Popen", start_and_kill)
    decoding = Guard(echo, ("image",), Limits())
    try:
        if ended < guard.DEATHS_AT_REST:
            assert decoding("x", detail="x.tar") == {"heard": "x"}
            assert len(started) == ended + 1
        else:
            with pytest.raises(InputError, match="ended 3 times"):
                decoding("x", detail="x.tar")
    finally:
        decoding.close()
