"""Video: settings of decoding and of training-time augmentation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, model_validator

from pipeline.errors import SampleError
from pipeline.modalities.base import ModalityConfig, Verify
from pipeline.modalities.content import FILMS
from pipeline.modalities.facets import CheapFeatures, Corruption, Facts, Likeness, ProbeRules
from pipeline.modalities.image import ImageAugmentConfig
from pipeline.modalities.shown import Medium, Shown
from pipeline.modalities.video.encoders import (
    VideoAttentionConfig,
    VideoEncoderConfig,
    VideoStatisticsConfig,
)

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

    from pipeline.modalities.base import Codec
    from pipeline.modalities.content import Content
    from pipeline.modalities.video.codec import VideoCodec
    from pipeline.modalities.video.measure import VideoMeasure
    from pipeline.modalities.video.reading import Bounds

MAX_VALUES = 1 << 28  # of a clip


class VideoAugmentConfig(ImageAugmentConfig):
    """Small random changes to clips while training, all frames of a clip alike; 0 switches one off."""


class VideoConfig(ModalityConfig):
    """Clips become frames of ``size`` x ``size`` RGB: spread evenly over the whole clip, or so many a second.

    Needs PyAV: ``pip install 'multimodal-pipeline[video]'``. A frame's short side is resized, and the centre is kept. A
    clip with fewer frames has a mask for the others.
    """

    LIMITS: ClassVar[tuple[str, ...]] = (
        "max_minutes",
        "max_megapixels",
        "max_frames",
        "max_decode_seconds",
    )
    # GIFs and JPEGs are images, unless `fields` says that they are clips.
    FORMATS: ClassVar[tuple[str, ...]] = FILMS
    MEDIUM: ClassVar[Medium] = "film"
    REASONS: ClassVar[Mapping[str, str]] = {"bad_video": "the video cannot be decoded"}
    FOR_FEW: ClassVar[Mapping[str, object]] = {"encoder": VideoStatisticsConfig()}

    kind: Literal["video"] = "video"
    fields: tuple[str, ...] = Field(
        default=("mp4", "mkv", "webm", "avi", "mov", "m4v", "mjpeg"),
        description="extensions of clips; the first that a sample has is decoded; gif is read too",
    )
    frames: int = Field(default=8, ge=1, le=1024, description="of a clip that the network sees")
    rate_hz: float | None = Field(
        default=None,
        gt=0,
        le=240,
        description="frames a second, of the beginning; spread over the whole clip unless set",
    )
    candidates: int = Field(
        default=1,
        ge=1,
        le=64,
        description="frames decoded for each that is seen: training takes one by chance, all else the middle one",
    )
    size: int = Field(
        default=112,
        ge=8,
        le=1024,
        description="side of a decoded frame's square, in pixels; a pretrained encoder has its own",
    )
    max_minutes: float = Field(default=30.0, gt=0, description="longer clips are quarantined")
    max_megapixels: float = Field(
        default=16.0, gt=0, description="clips with larger frames are quarantined"
    )
    max_frames: int = Field(
        default=200_000, ge=1, description="clips whose file holds more are quarantined"
    )
    max_decode_seconds: float = Field(
        default=8.0,
        gt=0,
        description="of a core, for one clip; limits.decode_seconds and decode_memory_bytes hold too",
    )
    encoder: VideoEncoderConfig = Field(
        default=VideoAttentionConfig(),
        description="network of this modality in a model that is trained",
    )
    augment: VideoAugmentConfig = VideoAugmentConfig()

    @model_validator(mode="after")
    def _not_enormous(self) -> VideoConfig:
        if self.frames * self.candidates * self.size**2 * 3 > MAX_VALUES:
            raise ValueError(f"frames * candidates * size * size * 3 must be at most {MAX_VALUES}")
        return self

    @classmethod
    def is_in(cls, member: memoryview) -> bool:
        from pipeline.modalities.video.survey import is_in

        return is_in(member)

    @classmethod
    def suited_to(cls, members: Sequence[memoryview]) -> dict[str, Any]:
        """A smaller ``size`` where most clips are smaller than the default."""
        from pipeline.modalities.video.survey import suited_to

        return suited_to(members)

    def codec(self, tokenizer: str | None, *, verify: Verify = "full") -> VideoCodec:
        """Builds the codec; whatever ``verify`` says, containers are read to their end, and frames where needed.

        Raises:
            ConfigError: PyAV is not installed.
        """
        from pipeline.modalities.video.codec import VideoCodec
        from pipeline.modalities.video.library import require_pyav
        from pipeline.modalities.video.pixels import Square
        from pipeline.modalities.video.sampling import Sampling

        require_pyav(f"modalities.{self.kind}")
        inputs = self.encoder.frame_inputs
        square = (
            Square(self.size, self.size) if inputs is None else Square(inputs.resize, inputs.size)
        )
        sampling = Sampling(self.frames, self.candidates, self.rate_hz)
        return VideoCodec(sampling, square, self.bounds())

    def bounds(self) -> Bounds:
        """What a clip may take."""
        from pipeline.modalities.video.reading import Bounds

        return Bounds(
            self.max_minutes * 60,
            int(self.max_megapixels * 1e6),
            self.max_frames,
            self.max_decode_seconds,
        )

    def check_content(self, data: memoryview, field: str) -> None:
        if not data:
            raise SampleError("the video is empty", reason="bad_video", field=field)

    def probe(self, content: Content, field: str, found: str, rules: ProbeRules) -> Facts:
        from pipeline.modalities.video.survey import survey

        return survey(content, field, found, self)

    def remarks(self) -> Mapping[str, str]:
        return {
            "enlarged": f"clips are smaller than size ({self.size}) and enlarged",
            "cut": f"clips are cut to the first {self.frames} frames (frames) at rate_hz",
            "short": f"clips have fewer than {self.frames} frames (frames), and what they lack is masked",
        }

    def show_augmented(self, codec: Codec, original: np.ndarray, augmented: np.ndarray) -> Shown:
        from pipeline.modalities.video.frames import are_there
        from pipeline.modalities.video.show import strip_png

        return Shown("picture", strip_png(augmented[are_there(augmented)]))

    def likeness(self) -> Likeness:
        from pipeline.modalities.video.likeness import VideoLikeness

        return VideoLikeness()

    def cheap_features(self) -> CheapFeatures:
        from pipeline.modalities.image.cheap import as_they_are
        from pipeline.modalities.video.measure import small_frames

        return CheapFeatures(
            "mean frame and change", self.codec(None), small_frames, as_they_are, "forest"
        )

    def corruptions(self, codec: Codec) -> Mapping[str, Corruption]:
        from pipeline.modalities.video.corrupt import corruptions

        return corruptions()

    def measure(self) -> VideoMeasure:
        from pipeline.modalities.video.measure import VideoMeasure

        return VideoMeasure()

    def build_encoder(self, width: int) -> nn.Module:
        return self.encoder.build(self, width)

    def augmentation(self) -> Any:
        from pipeline.modalities.image.augment import ImageAugmentation
        from pipeline.modalities.video.augment import VideoAugmentation

        return VideoAugmentation(self.frames, ImageAugmentation(**self.augment.model_dump()))
