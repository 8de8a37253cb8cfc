"""Which modalities an objective makes values of, and the columns that these stand in."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest
from support.encoder_cases import TOKENIZER

from pipeline.errors import ConfigError
from pipeline.modalities import ModalitiesConfig
from pipeline.objectives.generated import GENERATES, GeneratingSection
from pipeline.objectives.generated.rows import schema, table


class Section(GeneratingSection):
    """Only what all of them share."""

    kind: str = "shared"


Section.__abstractmethods__ = frozenset()


def modalities(**sections: object) -> ModalitiesConfig:
    return ModalitiesConfig.model_validate(sections)


BOTH = {"picture": {"kind": "image", "size": 8}, "text": {"max_tokens": 4, "vocab_size": 300}}


def test_all_that_can_be_are_made_unless_some_are_named() -> None:
    config = modalities(**BOTH, video={}).by_name()
    everything = json.loads(json.dumps(Section().about_inputs(config)))
    assert list(Section().renderings(everything)) == ["picture", "text"]
    one = Section(generates=("picture",))
    one.check_inputs(config)
    assert list(one.renderings(one.about_inputs(config))) == ["picture"]


@pytest.mark.parametrize(
    ("section", "config", "words"),
    [
        (Section(generates=("sound",)), modalities(**BOTH), "there is no modality sound"),
        (Section(generates=("video",)), modalities(**BOTH, video={}), "makes values of video"),
        (Section(), modalities(video={}), "no network here makes those of video"),
    ],
)
def test_what_cannot_be_made_is_refused_by_its_setting(
    section: Section, config: ModalitiesConfig, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        section.check_inputs(config.by_name())


def test_an_encoder_that_takes_other_values_is_told_before_training() -> None:
    """As it may be chosen where there are few samples: nothing is left out in silence."""
    config = modalities(text={"encoder": {"kind": "ngrams"}}, image={"size": 8}).by_name()
    with pytest.raises(ConfigError) as caught:
        Section().about_inputs(config)
    assert "modalities.text.encoder.kind=ngrams" in str(caught.value)
    assert list(Section(generates=("image",)).about_inputs(config)[GENERATES]) == ["image"]


def test_columns_are_named_by_the_configuration_and_texts_written_with_the_tokenizer() -> None:
    learned = Section().about_inputs(modalities(**BOTH).by_name())
    section = Section().with_tokenizer(TOKENIZER)
    renderings = section.renderings(learned)
    ids = np.zeros((2, 4), np.float32)
    ids[0, :2] = [70, 80]
    arrays = {
        "embedding": np.ones((2, 3), np.float32),
        "generated_picture": np.full((2, 8, 8, 3), 255, np.float32),
        "generated_text": ids,
    }
    rows = table(arrays, renderings)
    assert rows.schema == pa.schema(schema(renderings, 3))
    assert rows.column_names == ["embedding", "generated_picture", "generated_text"]
    assert rows["generated_picture"][0].as_py().startswith(b"\x89PNG")
    written, empty = rows["generated_text"].to_pylist()
    assert len(written) == 2
    assert empty == ""
    assert table(arrays, Section().renderings(learned))["generated_text"][0].as_py() == "70 80"
    assert Section() == section.with_tokenizer(None)
