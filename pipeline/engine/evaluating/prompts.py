"""The texts of ``evaluate.prompts``, as a bundle sees them."""

from __future__ import annotations

import pyarrow as pa

from pipeline.config import Config
from pipeline.errors import ConfigError, SampleError
from pipeline.modalities.shown import readable
from pipeline.objectives.evaluation import Prompts
from pipeline.prediction.spec import ModelSpec

WHERE = "evaluate.prompts"


def embedded_prompts(config: Config, spec: ModelSpec) -> Prompts:
    """Predicts the prompts, each as a sample that has a text and nothing else.

    Args:
        config: The whole configuration.
        spec: The bundle.

    Raises:
        ConfigError: There are none, no modality reads texts, or one cannot be used as a sample's text.
    """
    from pipeline.prediction.bundle import BundlePredictor

    texts = config.evaluate.prompt_texts()
    modality = next(iter(readable(config.modalities.media())), None)
    if modality is None or not texts:
        raise ConfigError("no modality reads texts", where=WHERE, fix="leave it out")
    predictor = BundlePredictor(spec)
    codec = predictor.codecs[modality]
    section = config.modalities.by_name()[modality]
    values = []
    for name, text in texts:
        data = text.encode(section.text_encoding(), "replace")
        try:
            values.append(codec.decode(memoryview(data), section.fields[0]))
        except SampleError as error:
            raise ConfigError(
                f"the prompt {text!r} cannot be used: {error.what}",
                where=f"{WHERE}.{name}",
                fix="write another",
            ) from None
    missing = [None] * len(values)
    columns = {
        name: codec.to_arrow(values if name == modality else missing)
        for name, codec in predictor.codecs.items()
    }
    rows = predictor.rows(pa.table(columns), [modality])
    return Prompts(modality, [name for name, _ in texts], rows)
