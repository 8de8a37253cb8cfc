"""Slices of samples by what their metadata says."""

from pipeline.evaluation.slices import MAX_SLICES, NOTHING, OTHERS, sliced
from pipeline.metrics.record import CorruptedScores, EvaluationRecord, SliceScores
from pipeline.modalities.decoding.targets import value_at


def test_values_are_slices_the_most_frequent_first() -> None:
    found = sliced(["en", None, "zh", "en", "de", None])
    assert found == {"en": [0, 3], "de": [4], "zh": [2], NOTHING: [1, 5]}
    assert list(found) == ["en", "de", "zh", NOTHING]


def test_rare_values_are_one_slice() -> None:
    texts = [f"speaker {index // 2}" for index in range(2 * (MAX_SLICES + 3))]
    found = sliced(texts)
    assert len(found) == MAX_SLICES
    assert len(found[OTHERS]) == 2 * 4
    assert sorted(row for rows in found.values() for row in rows) == list(range(len(texts)))


def test_many_numbers_are_ranges_from_the_lowest() -> None:
    texts = [str(number) for number in range(40, 0, -1)]
    found = sliced([*texts, None])
    assert list(found) == ["1 to 10", "11 to 20", "21 to 30", "31 to 40", NOTHING]
    assert {texts[row] for row in found["11 to 20"]} == {str(number) for number in range(11, 21)}
    few = sliced(["2", "1", "2"])
    assert few == {"2": [0, 2], "1": [1]}, "few numbers are values"
    assert NOTHING not in sliced(["nan"] * 3), "no number, but a value"


def test_a_place_is_read_as_a_label_is() -> None:
    fields = {"json": '{"who": {"lang": "en", "tags": []}}', "json.lang": None, "x.y": " z "}
    assert value_at(fields, "json.who.lang") == "en"
    assert value_at(fields, "x.y") == "z"
    for place in ("json.who.tags", "json.who.age", "json.lang", "nothing"):
        assert value_at(fields, place) is None


def test_the_tables_are_read_as_they_were_written() -> None:
    scores = {"num_samples": 3, "metrics": {"accuracy": 0.5}, "intervals": {"accuracy": (0.1, 0.9)}}
    what = {"modality": "x", "corruption": "noise", "unit": "dB"}
    record = EvaluationRecord(
        robustness=(
            CorruptedScores(**what, **scores),
            CorruptedScores(**what, severity=3.0, **scores),
        ),
        slices=(SliceScores(place="lang", value="en", **scores),),
    )
    written = record.to_json()
    assert EvaluationRecord.from_json(written) == record
    assert {"robustness", "slices"}.isdisjoint(EvaluationRecord().to_json())
