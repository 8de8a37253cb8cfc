import tarfile
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import SampleError
from pipeline.packing.split import split_of
from pipeline.shards.names import check_key, is_extension
from pipeline.shards.writer import ShardSetWriter

keys = st.text(min_size=1, max_size=120)


@st.composite
def fractions(draw):
    parts = draw(st.lists(st.integers(0, 50), min_size=1, max_size=4).filter(sum))
    return {f"s{i}": part / sum(parts) for i, part in enumerate(parts)}


@given(keys, fractions(), st.integers())
def test_split_is_a_function_of_key_and_seed(key, shares, seed):
    chosen = split_of(key, shares, seed)
    assert shares[chosen] > 0
    assert split_of(key, dict(shares), seed) == chosen


@given(keys, st.floats(0, 1), st.floats(0, 1))
def test_growing_the_first_share_never_takes_from_it(key, one, other):
    small, large = sorted((one, other))
    if split_of(key, {"a": small, "b": 1 - small}) == "a":
        assert split_of(key, {"a": large, "b": 1 - large}) == "a"


def readable(key):
    try:
        check_key(key)
    except SampleError:
        return False
    return True


samples = st.dictionaries(
    keys.filter(readable),
    st.dictionaries(
        st.text("abcz019._", min_size=1, max_size=9).filter(is_extension),
        st.binary(max_size=3000),
        min_size=1,
        max_size=3,
    ),
    max_size=12,
)


@settings(deadline=None, max_examples=60)
@given(samples, st.integers(10_240, 60_000), st.integers(1, 5))
def test_every_sample_comes_back_once_within_the_bounds(written, max_bytes, max_samples):
    with tempfile.TemporaryDirectory() as folder:
        with ShardSetWriter(
            folder, name="x", max_shard_bytes=max_bytes, max_shard_samples=max_samples
        ) as writer:
            for key, fields in written.items():
                writer.write(split_of(key, {"a": 0.5, "b": 0.5}), key, fields)
        read: dict[str, dict[str, bytes]] = {}
        for shard in writer.publish():
            path = Path(folder) / shard.name
            with tarfile.open(path) as tar:
                found = {}
                for member in tar:
                    base, _, last = member.name.rpartition("/")
                    stem, _, field = last.partition(".")
                    key = f"{base}/{stem}" if base else stem
                    found.setdefault(key, {})[field] = tar.extractfile(member).read()
            assert len(found) == shard.num_samples <= max_samples
            assert path.stat().st_size == shard.num_bytes
            assert shard.num_bytes <= max_bytes or shard.num_samples == 1
            assert not read.keys() & found.keys()
            read |= found
        assert read == written
