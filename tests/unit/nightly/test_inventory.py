"""What has arrived, changed or gone."""

from pipeline.nightly.inventory import Inventory
from pipeline.shards.planning.plan import Part
from pipeline.sinks.ledger import PartResult
from pipeline.sinks.records import Record


def part(shard: str, version: str, index: int = 0) -> Part:
    return Part(shard, f"/{shard}", version, index, start=512 * index, end=512 * index + 512)


def records(*parts: Part) -> list[Record]:
    return [Record(PartResult(part.id, part.shard, 0, 0, 0, 0)) for part in parts]


def test_shards_are_told_apart() -> None:
    same, before, gone = part("same", "1"), part("changed", "1"), part("gone", "1")
    after, new = part("changed", "2"), part("new", "1")
    found = Inventory.take([same, after, new], records(same, before, gone))
    assert found.counts() == {"new": 1, "changed": 1, "deleted": 1, "unchanged": 1}
    assert (found.new, found.changed, found.deleted) == ({"new"}, {"changed"}, {"gone"})
    assert found.rows_of(["gone", "changed"]) == sorted([gone.id, before.id])


def test_a_shard_that_is_half_done_has_not_changed() -> None:
    first, second = part("a", "1", 0), part("a", "1", 1)
    found = Inventory.take([first, second], records(first))
    assert found.counts() == {"new": 0, "changed": 0, "deleted": 0, "unchanged": 1}
    assert found.held([first, second], {first.id}) == frozenset()


def test_the_old_rows_of_a_changed_shard_stay_until_all_of_it_is_done() -> None:
    old, first, second = part("a", "1"), part("a", "2", 0), part("a", "2", 1)
    found = Inventory.take([first, second], records(old))
    assert found.held([first, second], set()) == {"a"}
    assert found.held([first, second], {first.id}) == {"a"}
    assert found.held([first, second], {first.id, second.id}) == frozenset()
