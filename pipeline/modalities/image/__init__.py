"""Images: settings of decoding and of training-time augmentation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from pipeline.errors import SampleError
from pipeline.modalities.base import Codec, FilterConfig, ModalityConfig, Verify
from pipeline.modalities.facets import CheapFeatures, Corruption, Facts, Likeness, ProbeRules
from pipeline.modalities.image.encoders import (
    ImageCnnConfig,
    ImageEncoderConfig,
    ImageStatisticsConfig,
)
from pipeline.modalities.section import Section
from pipeline.modalities.shown import Medium, Shown

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

    from pipeline.metrics.columns import ColumnMeasure
    from pipeline.modalities.content import Content
    from pipeline.modalities.image.decoders import ImageRendering

_USUAL_SIZES = (32, 64, 128)  # below the default


class ImageAugmentConfig(Section):
    """Small random changes to images while training; 0 switches one off.

    Crops, flips and colours are off: letters and digits have a handedness, and colour may be what tells things apart.
    """

    crop_probability: float = Field(
        default=0.0, ge=0, le=1, description="of a random crop, resized to the whole image"
    )
    crop_area_fraction: float = Field(
        default=0.5, gt=0, le=1, description="smallest area of a crop, as a share of the image"
    )
    flip_probability: float = Field(default=0.0, ge=0, le=1, description="of left for right")
    rotation_degrees: float = Field(default=10.0, ge=0, le=180, description="largest, either way")
    zoom_fraction: float = Field(
        default=0.1, ge=0, lt=1, description="largest change of size, as a share"
    )
    shift_fraction: float = Field(
        default=0.07, ge=0, le=1, description="largest shift along each axis, as a share"
    )
    brightness_fraction: float = Field(
        default=0.1, ge=0, le=1, description="largest change, as a share of the range of values"
    )
    contrast_fraction: float = Field(
        default=0.1, ge=0, le=1, description="largest change, as a share of the contrast"
    )
    saturation_fraction: float = Field(
        default=0.0, ge=0, le=1, description="largest change, as a share of the saturation"
    )
    hue_degrees: float = Field(
        default=0.0, ge=0, le=180, description="largest turn of the colours, either way"
    )
    erase_probability: float = Field(
        default=0.25, ge=0, le=1, description="that a rectangle becomes the image's mean colour"
    )
    erase_area_fraction: float = Field(
        default=0.2, ge=0, le=1, description="largest area of that rectangle, as a share"
    )


class ImageFilterConfig(FilterConfig):
    """Which images are left out; the image as it is stored counts, before it is resized."""

    min_side: int | None = Field(default=None, ge=1, description="of the short side, in pixels")
    max_aspect: float | None = Field(default=None, ge=1, description="long side over short side")
    min_contrast: float | None = Field(
        default=None,
        ge=0,
        le=0.5,
        description="standard deviation of the brightness, as a share of its range; 0.01 finds blank pages",
    )


class ImageConfig(ModalityConfig):
    """Images become ``size`` x ``size`` RGB: the short side is resized, the centre is kept."""

    LIMITS: ClassVar[tuple[str, ...]] = ("max_megapixels", "max_scans")
    FORMATS: ClassVar[tuple[str, ...]] = (
        "jpeg",
        "png",
        "webp",
        "gif",
        "tiff",
        "bmp",
        "avif",
        "svg",
    )
    MEDIUM: ClassVar[Medium] = "picture"
    FOR_FEW: ClassVar[Mapping[str, object]] = {"encoder": ImageStatisticsConfig(told="looks")}

    kind: Literal["image"] = "image"
    fields: tuple[str, ...] = Field(
        default=("jpg", "jpeg", "png", "webp"),
        description="extensions of images; the first that a sample has is decoded",
    )
    size: int = Field(
        default=224,
        ge=8,
        le=2048,
        description="side of the decoded square, in pixels; a pretrained encoder has its own",
    )
    max_megapixels: float = Field(
        default=64.0,
        gt=0,
        description="larger images are quarantined, by what their header declares",
    )
    # Each costs the time of the whole image, however few bytes it has.
    max_scans: int = Field(
        default=100, ge=1, description="JPEGs that come in more scans are quarantined"
    )
    encoder: ImageEncoderConfig = Field(
        default=ImageCnnConfig(), description="network of this modality in a model that is trained"
    )
    augment: ImageAugmentConfig = ImageAugmentConfig()
    filter: ImageFilterConfig = ImageFilterConfig()

    @classmethod
    def suited_to(cls, members: Sequence[memoryview]) -> dict[str, Any]:
        """A smaller ``size`` where most images are smaller than the default."""
        from pipeline.modalities.content import SNIFFED_BYTES, Content, sniff
        from pipeline.modalities.image.probe import probe_image

        headers = (
            probe_image(Content(len(data), data), sniff(bytes(data[:SNIFFED_BYTES])))
            for data in members
        )
        sides = sorted(min(header) for header in headers if header is not None)
        if not sides:
            return {}
        median = sides[len(sides) // 2]
        size = next((size for size in _USUAL_SIZES if size >= median), None)
        return {} if size is None else {"size": size}

    def codec(self, tokenizer: str | None, *, verify: Verify = "full") -> Codec:
        from pipeline.modalities.image.codec import ImageCodec

        if self.encoder.inputs is not None:
            return self.encoder.inputs.codec(self, verify=verify)
        return ImageCodec(
            size=self.size,
            max_pixels=int(self.max_megapixels * 1e6),
            max_scans=self.max_scans,
            whole=verify == "full",
            limits=self.filter if self.filter.active else None,
        )

    def check_content(self, data: memoryview, field: str) -> None:
        if not data:
            raise SampleError("the image is empty", reason="bad_image", field=field)

    def probe(self, content: Content, field: str, found: str, rules: ProbeRules) -> Facts:
        from pipeline.modalities.image.survey import survey

        return survey(content, field, found, self)

    def remarks(self) -> Mapping[str, str]:
        return {"enlarged": f"images are smaller than size ({self.size}) and enlarged"}

    def show_augmented(self, codec: Codec, original: np.ndarray, augmented: np.ndarray) -> Shown:
        from pipeline.modalities.image.show import image_png

        return Shown("picture", image_png(augmented))

    def likeness(self) -> Likeness:
        from pipeline.modalities.image.likeness import ImageLikeness

        return ImageLikeness()

    def cheap_features(self) -> CheapFeatures:
        from pipeline.modalities.image.cheap import as_they_are, small_pixels
        from pipeline.modalities.image.codec import ImageCodec

        codec = ImageCodec(
            size=min(self.size, 64),
            max_pixels=int(self.max_megapixels * 1e6),
            max_scans=self.max_scans,
            limits=self.filter if self.filter.active else None,
        )
        return CheapFeatures("pixels", codec, small_pixels, as_they_are, "forest")

    def corruptions(self, codec: Codec) -> Mapping[str, Corruption]:
        from pipeline.modalities.image.corrupt import corruptions

        return corruptions()

    def rendering(self, tokenizer: str | None) -> ImageRendering | None:
        from pipeline.modalities.image.decoders import ImageRendering

        return ImageRendering(self.size) if self.encoder.inputs is None else None

    def measure(self) -> ColumnMeasure:
        from pipeline.metrics.columns import ChannelMeasure

        return ChannelMeasure()

    def build_encoder(self, width: int) -> nn.Module:
        return self.encoder.build(self, width)

    def augmentation(self) -> Any:
        from pipeline.modalities.image.augment import ImageAugmentation

        return ImageAugmentation(**self.augment.model_dump())
