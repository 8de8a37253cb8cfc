"""What an output was made from: another input is refused where rows would go, however it is spelled."""

import os
from pathlib import Path

import pytest

from pipeline.sinks.origin import Origin

ROWS = {"a", "b"}


def test_an_input_is_the_same_however_it_is_spelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in").mkdir()
    monkeypatch.chdir(tmp_path)
    plain = Origin.of(f"{tmp_path}/in/x-*.tar")
    for spelled in (
        "in/x-*.tar",
        "./in//x-*.tar",
        ["in/../in/x-*.tar", f"file://{tmp_path}/in/x-*.tar"],
    ):
        assert Origin.of(spelled) == plain
    assert Origin.of("in/") == Origin.of(str(tmp_path / "in"))
    assert Origin.of(["b.tar", "a.tar"]) == Origin.of(["a.tar", "b.tar"])
    signed = "https://host/x.tar?X-Amz-Signature=abc"
    assert Origin.of(signed).patterns == ("https://host/x.tar",), "no signature is kept"
    assert Origin.of(f"{signed}&X-Amz-Date=1&Expires=2&sv=3&se=4&sig=5") == Origin.of(signed)
    assert Origin.of("s3://bucket//in/").patterns == ("s3://bucket/in",)


def test_files_that_a_web_server_is_asked_for_by_a_query_are_told_apart() -> None:
    first, other = (Origin.of(f"https://host/get?file={name}.tar&sig=1") for name in ("a", "b"))
    assert first == Origin.of("https://host/get?sig=2&file=a.tar")
    assert first != other
    assert "a.tar" not in str(first), "it may be a key under a name that nobody knows"
    assert other.refusal(first, ROWS, {"c"}) is not None
    assert other.refusal(first, ROWS, ROWS) is None


@pytest.mark.parametrize(
    ("made", "recorded", "now", "planned", "refused"),
    [
        (("x-*",), ROWS, ("x-*",), {"a", "b", "c"}, None),
        (("x-*",), ROWS, ("x-*",), {"a", "new b"}, None),
        (("x-*",), ROWS, ("x-*",), {"a"}, None),
        (("x-*",), ROWS, ("y-*",), {"c"}, "made from {0}/x-*, and the input is now {0}/y-*"),
        (("x-*",), ROWS, ("x-{0..1}",), ROWS, None),
        (("x-*",), ROWS, ("x-{0..1}",), {"a"}, "made from {0}/x-*, and the input is now"),
        (("x",), ROWS, ("x", "y"), {"a", "b", "c"}, None),
        (("x",), ROWS, ("x", "y"), {"a", "c"}, "made from {0}/x, and the input now also has {0}/y"),
        (("x", "y"), ROWS, ("x",), {"a"}, "made from {0}/x and 1 more, and the input now lacks {0}/y"),
        (("x-*",), set(), ("y-*",), {"c"}, None),
        (None, ROWS, ("x-*",), {"a", "b", "c"}, None),
        (None, ROWS, ("x-*",), {"a"}, "1 of the 2 parts that the output was made from are not in {0}/x-*"),
    ],
    ids=[
        "it grew", "a shard changed", "a shard is gone", "another", "respelled", "respelled and fewer",
        "one more pattern",
        "one more pattern, a row less", "one pattern less", "nothing done", "not noted", "not noted and fewer",
    ],
)  # fmt: skip
def test_another_input_is_refused_where_rows_would_go(
    made: tuple[str, ...] | None,
    recorded: set[str],
    now: tuple[str, ...],
    planned: set[str],
    refused: str | None,
) -> None:
    before = None if made is None else Origin.of(made)
    found = Origin.of(now).refusal(before, recorded, planned)
    if refused is None:
        assert found is None
    else:
        assert refused.format(os.getcwd()) in str(found)


def test_a_first_try_may_grow_and_the_whole_may_not_shrink() -> None:
    whole, some, more = (Origin.of("x-*", count) for count in (None, 10, 20))
    cut, longer = {"a", "b until 10"}, {"a", "b until 20"}
    assert whole.refusal(some, cut, ROWS) is None
    assert more.refusal(some, cut, longer) is None
    assert some.refusal(some, cut, cut) is None
    assert "made from all samples" in str(some.refusal(whole, ROWS, cut))
    assert "input.max_samples=10" in str(some.refusal(whole, ROWS, cut))
    assert "the first 20 samples" in str(some.refusal(more, longer, cut))
    assert some.refusal(whole, {"a"}, cut) is None, "of the whole only this much was done"
