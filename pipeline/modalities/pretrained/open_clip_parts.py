"""The parts of a dual encoder of open_clip: its way of images or that of texts alone, and its tokenizer."""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import open_clip
from open_clip.tokenizer import SimpleTokenizer
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import Tensor, nn

CONFIG = "open_clip_config.json"  # that open_clip writes beside weights
IMAGES = "visual"  # the name of the image network; all the others are of texts
PAD_ID = 0  # that open_clip fills texts up with
START, END = "<start_of_text>", "<end_of_text>"
END_OF_WORD = "</w>"
WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
# What open_clip makes of typographic characters and of HTML, of what its repair of texts makes of them.
REPLACED = {
    "[\u02bc\u2018-\u201b]": "'",
    "[\u201c-\u201f]": '"',
    "&lt;": "<",
    "&gt;": ">",
    "&quot;": '"',
    "&#39;": "'",
    "&amp;": "&",
}


class ImageWay(nn.Module):
    """A dual encoder's way of images."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        for name in _parts(model) - {IMAGES}:
            delattr(model, name)
        self.model = model

    def forward(self, pixels: Tensor) -> Tensor:
        embedding: Tensor = self.model.encode_image(pixels)
        return embedding


class TextWay(nn.Module):
    """A dual encoder's way of texts."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        for name in _parts(model) & {IMAGES, "text_decoder", "logit_scale", "logit_bias"}:
            delattr(model, name)
        self.model = model

    def forward(self, ids: Tensor) -> Tensor:
        embedding: Tensor = self.model.encode_text(ids)
        return embedding


def _parts(model: nn.Module) -> set[str]:
    return {path.partition(".")[0] for path, _ in model.named_parameters()}


def build(config: Mapping[str, Any]) -> Any:
    """A dual encoder with weights by chance, from its configuration and nothing else."""
    with tempfile.TemporaryDirectory(prefix="mmp-open-clip-") as folder:
        tree = {"model_cfg": config, "preprocess_cfg": {}}
        (Path(folder) / CONFIG).write_text(json.dumps(tree), encoding="utf-8")
        return network(f"local-dir:{folder}")


def network(name: str) -> Any:
    """A dual encoder with weights by chance, which others are put in place of.

    Args:
        name: As open_clip's ``create_model`` takes it.
    """
    root = logging.getLogger()
    root.addFilter(_is_no_warning)  # that there are no weights
    try:
        model: nn.Module = open_clip.create_model(name, load_weights=False, pretrained_text=False)
    finally:
        root.removeFilter(_is_no_warning)
    return model.eval()


def _is_no_warning(record: logging.LogRecord) -> bool:
    return record.levelno != logging.WARNING


def has_tokenizer_of_its_own(config: Mapping[str, Any]) -> bool:
    """Whether texts are cut by open_clip's own tokenizer as it stands, which :func:`tokenizer` gives."""
    text = config["text_cfg"]
    return not (text.get("hf_tokenizer_name") or text.get("tokenizer_kwargs"))


def tokenizer() -> str:
    """open_clip's own tokenizer, JSON of a ``tokenizers.Tokenizer``.

    Of its repair of texts only the most frequent is done: curly quotes and the entities of HTML that everyone uses.

    Source: open_clip, tokenizer.py, ``SimpleTokenizer``.
    """
    original = SimpleTokenizer()
    merges = sorted(original.bpe_ranks, key=original.bpe_ranks.__getitem__)
    engine = Tokenizer(
        models.BPE(original.encoder, merges, unk_token=END, end_of_word_suffix=END_OF_WORD)
    )
    replaced = [normalizers.Replace(Regex(what), by) for what, by in REPLACED.items()]
    engine.normalizer = normalizers.Sequence(
        [normalizers.NFC(), *replaced, normalizers.Lowercase()]
    )
    engine.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), "removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    ends = [(token, original.encoder[token]) for token in (START, END)]
    engine.post_processor = processors.TemplateProcessing(f"{START} $A {END}", special_tokens=ends)
    text: str = engine.to_str()
    return text
