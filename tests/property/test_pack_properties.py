import json
import tarfile
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import SampleError
from pipeline.modalities import ModalitiesConfig
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.modalities.text.plain import PlainTextCodec
from pipeline.objectives.classify.labels import ClassTarget
from pipeline.packing.config import PackConfig
from pipeline.packing.keys import escape_key, unescape_key
from pipeline.packing.pack import pack
from pipeline.packing.reading import Reading
from pipeline.packing.split import split_of
from pipeline.shards.planning.plan import expand, plan
from pipeline.shards.reading.reader import read_part
from pipeline.shards.tar.names import check_key, is_extension
from pipeline.shards.tar.strays import stray_kind
from pipeline.shards.writing.writer import ShardSetWriter

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


@settings(max_examples=60)
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


# What cells of tables hold: the odd ones that readers refuse, and good ones.
texts = st.one_of(
    st.text(max_size=12),
    st.text(st.characters(), max_size=6),
    st.sampled_from(["", "\0", "half \ud83d", "é" * 40, "\ufeff", "1.0", "a" * 200]),
)
leaves = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), texts)
trees = st.recursive(
    leaves,
    lambda inside: st.one_of(
        st.lists(inside, max_size=3), st.dictionaries(texts, inside, max_size=3)
    ),
    max_leaves=8,
)
deep = st.integers(1, 90).map(lambda depth: json.loads("[" * depth + "]" * depth))
cells = st.one_of(texts, trees, deep, st.sampled_from(["{half", "NaN", '{"a": "\\ud83d"}', "[1]"]))
names = st.one_of(texts, st.sampled_from(["a.b", "._a", "__MACOSX/a", "a/", ".DS_Store", "%2E"]))


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(names, texts, cells, cells), min_size=1, max_size=6, unique_by=lambda row: row[0]
    )
)
def test_what_is_packed_is_read(rows):
    """Whatever is in a table: preprocess reads all that packing accepts, and all is counted."""
    modalities = ModalitiesConfig.model_validate({"text": {"max_bytes": 60}})
    reading = Reading(modalities, metadata=("json",), target=ClassTarget("cls"))
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder, "t.jsonl")
        lines = [dict(zip(("k", "t", "c", "j"), row, strict=True)) for row in rows]
        table.write_text("".join(json.dumps(line) + "\n" for line in lines))
        config = PackConfig(source=str(table), output=f"{folder}/out", key="k",
                            columns={"txt": "t", "cls": "c", "json": "j"})  # fmt: skip
        result = pack(config, reading)
        assert result.samples_read == len(rows)
        assert result.samples_read == result.samples_written + result.samples_quarantined
        assert len(result.quarantined) == result.samples_quarantined
        codec = PlainTextCodec(max_bytes=60)
        decoder = Decoder(
            {"text": codec},
            {"text": ("txt",)},
            ("json",),
            ClassTarget("cls"),
            target_optional=False,
        )
        read = 0
        for part in plan(expand(f"{folder}/out/*.tar")) if result.shards else []:
            decoded = decoder.decode(read_part(part), "part").to_pylist()
            faults = [row["error"] for row in decoded if row["error"]]
            assert {fault["reason"] for fault in faults} <= {"missing_label"}
            read += len(decoded)
        assert read == result.samples_written


odd = st.lists(
    st.sampled_from(["__MACOSX", "@eaDir", ".git", "..", "a", "#recycle", "~", ""]), min_size=2
)
odd = odd.map("/".join)


@given(st.one_of(st.text(min_size=1), st.text("%./\\2eE_\0a", min_size=1), odd))
def test_any_name_makes_a_key_that_gives_it_back(name):
    try:
        key = escape_key(name)
    except SampleError:
        assert any("\ud800" <= letter <= "\udfff" for letter in name)
        return
    check_key(key)
    assert stray_kind(f"{key}.txt") is None
    assert unescape_key(key) == name
    assert escape_key(key) == key or "%" in key
