"""A real Ray head on free ports, whose processes are known and gone at the end."""

from collections.abc import Iterator

import pytest

from bench.local_cluster import PROJECT, RAY, Family, Head, running_head, running_node

__all__ = ["PROJECT", "RAY", "Family", "Head", "family", "ray_head", "running_head", "running_node"]


@pytest.fixture
def family() -> Iterator[Family]:
    """Processes of one test; none may be left at its end."""
    family = Family()
    yield family
    left = family.wait_gone(10)
    family.kill()
    assert not left, f"left behind: {left}"


@pytest.fixture(scope="session")
def ray_head() -> Iterator[Head]:
    """A head with 2 CPUs, behind a token."""
    with running_head() as head:
        yield head
