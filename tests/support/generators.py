"""Small generators of random weights that tests save to disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import transformers

from support.encoders import WORDS, save_tokenizer, small_text, small_vision

STD = 0.6  # of random weights: with those of a training's start, all texts would be the same
SPECIAL = 4  # tokens of save_tokenizer that are no words
VOCABULARY = SPECIAL + len(WORDS)
PAD, START, END = 0, 2, 3
RATE = 8000
CHUNK_SECONDS = 1  # of the small Whisper, in place of 30


def strong(model: Any, seed: int) -> Any:
    """Random weights that are large enough for texts to differ."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * STD)
    return model.eval()


def save_t5(folder: Path, **search: Any) -> Path:
    config = transformers.T5Config(
        vocab_size=VOCABULARY, d_model=16, d_kv=8, d_ff=32, num_layers=1, num_decoder_layers=1, num_heads=2,
        decoder_start_token_id=PAD, pad_token_id=PAD, eos_token_id=END,
    )  # fmt: skip
    return _saved(transformers.T5ForConditionalGeneration(config), folder, 7, **search)


def save_bart(folder: Path, **search: Any) -> Path:
    config = transformers.BartConfig(
        vocab_size=VOCABULARY, d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32, max_position_embeddings=64,
        decoder_start_token_id=END, pad_token_id=PAD, bos_token_id=START, eos_token_id=END, forced_eos_token_id=None,
    )  # fmt: skip
    return _saved(transformers.BartForConditionalGeneration(config), folder, 12, **search)


def save_marian(folder: Path, **search: Any) -> Path:
    config = transformers.MarianConfig(
        vocab_size=VOCABULARY, d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32, max_position_embeddings=64,
        decoder_start_token_id=PAD, pad_token_id=PAD, eos_token_id=END, forced_eos_token_id=None,
    )  # fmt: skip
    return _saved(transformers.MarianMTModel(config), folder, 13, **search)


def save_blip(folder: Path, **search: Any) -> Path:
    text = small_text(
        hidden_size=16, intermediate_size=32, num_hidden_layers=1, max_position_embeddings=40, sep_token_id=END,
        encoder_hidden_size=16,
    )  # fmt: skip
    vision = small_vision(hidden_size=16, intermediate_size=32, num_hidden_layers=1)
    config = transformers.BlipConfig(text_config=text, vision_config=vision)
    _processor(transformers.BlipImageProcessor, folder)
    return _saved(transformers.BlipForConditionalGeneration(config), folder, 14, **search)


def save_vision_encoder_decoder(folder: Path, **search: Any) -> Path:
    encoder = transformers.ViTConfig(**small_vision(hidden_size=16, num_hidden_layers=1))
    decoder = transformers.GPT2Config(
        vocab_size=VOCABULARY, n_positions=40, n_embd=16, n_layer=1, n_head=2, add_cross_attention=True,
        is_decoder=True, bos_token_id=START, eos_token_id=END, pad_token_id=PAD,
    )  # fmt: skip
    config = transformers.VisionEncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder)
    config.decoder_start_token_id, config.pad_token_id, config.eos_token_id = START, PAD, END
    _processor(transformers.ViTImageProcessor, folder)
    return _saved(transformers.VisionEncoderDecoderModel(config), folder, 15, **search)


def save_llava(folder: Path, **search: Any) -> Path:
    """A network that answers a prompt, put together by a template of chats."""
    tokenizer = _tokenizer_of_images(folder)
    text = transformers.LlamaConfig(
        vocab_size=VOCABULARY + 1, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=40, pad_token_id=PAD, bos_token_id=START, eos_token_id=END,
    )  # fmt: skip
    vision = small_vision(hidden_size=16, intermediate_size=32, num_hidden_layers=2)
    vision_config = transformers.CLIPVisionConfig(**vision)
    config = transformers.LlavaConfig(
        vision_config=vision_config, text_config=text, image_token_index=VOCABULARY
    )
    template = "{% for part in messages[0]['content'] %}{{ part['text'] if part['type'] == 'text' else '<image>' }}"
    transformers.LlavaProcessor(
        image_processor=transformers.CLIPImageProcessor(
            size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
        ),
        tokenizer=tokenizer,
        patch_size=vision_config.patch_size,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=template + "{% endfor %} on",
    ).save_pretrained(folder)
    model = strong(transformers.LlavaForConditionalGeneration(config), 18)
    model.generation_config.update(**search)
    model.save_pretrained(folder)
    return folder


def save_paligemma(folder: Path, **search: Any) -> Path:
    """A network that answers a prompt as it is."""
    tokenizer = _tokenizer_of_images(folder)
    vision = transformers.SiglipVisionConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, image_size=32, patch_size=8
    )  # fmt: skip
    text = transformers.GemmaConfig(
        vocab_size=VOCABULARY + 1, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, head_dim=8, max_position_embeddings=40, pad_token_id=PAD, bos_token_id=START,
        eos_token_id=END,
    )  # fmt: skip
    config = transformers.PaliGemmaConfig(
        vision_config=vision, text_config=text, image_token_index=VOCABULARY, projection_dim=16
    )
    images = transformers.SiglipImageProcessor(size={"height": 32, "width": 32})
    images.image_seq_length = 16
    transformers.PaliGemmaProcessor(image_processor=images, tokenizer=tokenizer).save_pretrained(
        folder
    )
    model = strong(transformers.PaliGemmaForConditionalGeneration(config), 19)
    model.generation_config.update(**search)
    model.save_pretrained(folder)
    return folder


def _tokenizer_of_images(folder: Path) -> Any:
    tokenizer = save_tokenizer(folder, model_max_length=60)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
    return tokenizer


def _processor(kind: Any, folder: Path) -> None:
    kind(size={"height": 32, "width": 32}).save_pretrained(folder)


def _saved(model: Any, folder: Path, seed: int, **search: Any) -> Path:
    if search:
        model.generation_config.update(**search)
    strong(model, seed).save_pretrained(folder)
    save_tokenizer(folder, model_max_length=60)
    return folder


def save_whisper(folder: Path, *, multilingual: bool = True) -> Path:
    """A Whisper of windows of one second, which says single letters."""
    letters = {chr(ord("a") + number): number for number in range(24)} | {"Ġ": 24}
    names = [
        "<|endoftext|>",
        "<|startoftranscript|>",
        "<|en|>",
        "<|de|>",
        "<|fr|>",
        "<|translate|>",
        "<|transcribe|>",
    ]
    names += ["<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>"]
    ids = {name: len(letters) + number for number, name in enumerate(names)}
    times = [f"<|{number * 0.02:.2f}|>" for number in range(51)]
    tokenizer = transformers.WhisperTokenizer(
        vocab={**letters, **ids}, merges=[], pad_token="<|endoftext|>"
    )
    tokenizer.add_special_tokens({"additional_special_tokens": names[1:]})
    tokenizer.add_tokens(times)
    tokenizer.save_pretrained(folder)
    transformers.WhisperFeatureExtractor(
        feature_size=8, sampling_rate=RATE, hop_length=80, chunk_length=CHUNK_SECONDS, n_fft=200
    ).save_pretrained(folder)
    end = ids["<|endoftext|>"]
    config = transformers.WhisperConfig(
        vocab_size=len(letters) + len(ids) + len(times), num_mel_bins=8, d_model=16, encoder_layers=1,
        decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=32,
        decoder_ffn_dim=32, max_source_positions=50, max_target_positions=24, pad_token_id=end, bos_token_id=end,
        eos_token_id=end, decoder_start_token_id=ids["<|startoftranscript|>"], suppress_tokens=None,
        begin_suppress_tokens=None,
    )  # fmt: skip
    model = strong(transformers.WhisperForConditionalGeneration(config), 16)
    search = {
        "no_timestamps_token_id": ids["<|notimestamps|>"], "is_multilingual": multilingual,
        "max_initial_timestamp_index": 5, "return_timestamps": False,
    }  # fmt: skip
    if multilingual:
        search["lang_to_id"] = {name: ids[name] for name in ("<|en|>", "<|de|>", "<|fr|>")}
        search["task_to_id"] = {name: ids[f"<|{name}|>"] for name in ("translate", "transcribe")}
    model.generation_config = transformers.GenerationConfig(
        bos_token_id=end,
        eos_token_id=end,
        pad_token_id=end,
        decoder_start_token_id=config.decoder_start_token_id,
        **search,
    )
    model.save_pretrained(folder)
    return folder


def save_ctc(folder: Path, kind: str = "Wav2Vec2", norm: str = "layer") -> Path:
    """A network that says letters of a sound."""
    folder.mkdir(exist_ok=True)
    names = ["<pad>", "<s>", "</s>", "<unk>", "|", *"abcdefghijklmnop"]
    (folder / "vocab.json").write_text(
        json.dumps({name: number for number, name in enumerate(names)})
    )
    transformers.Wav2Vec2CTCTokenizer(str(folder / "vocab.json")).save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor(
        sampling_rate=RATE, return_attention_mask=norm == "layer"
    ).save_pretrained(folder)
    config = getattr(transformers, f"{kind}Config")(
        vocab_size=len(names), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        conv_dim=(16, 16), conv_stride=(20, 8), conv_kernel=(40, 8), num_feat_extract_layers=2,
        feat_extract_norm=norm, num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=2, pad_token_id=0,
        do_stable_layer_norm=norm == "layer",
    )  # fmt: skip
    model = getattr(transformers, f"{kind}ForCTC")(config)
    strong(model, 17).save_pretrained(folder)
    return folder
