"""JPEG and PNG to the numbers that a model takes, as transformers' image processors make them on Pillow.

Of a picture with an alpha channel the colours count and not the alpha, as there; 16-bit grey keeps its high byte.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from inference_code.errors import BadRequest, HandlerInvalid

Pixels = NDArray[Any]
MOST_PIXELS = 50_000_000
"""A request of more is refused: in memory a picture takes 3 bytes for each."""
_FORMATS = ("JPEG", "PNG")
#: Processors that resize, crop, rescale and normalize and do nothing else. Their older files give one number as
#: the size: of a square, or of the shorter edge.
_SQUARE = ("ViT", "DeiT", "Beit", "Siglip", "Blip")
_SHORTER = ("CLIP", "ConvNext", "Bit", "MobileNetV1", "MobileNetV2")
_KINDS = (*_SQUARE, *_SHORTER)
_KIND = re.compile(r"(\w+?)(ImageProcessor(Fast|Pil)?|FeatureExtractor)")
_KNOWN = {"do_resize", "do_center_crop", "do_rescale", "do_normalize"}
_KNOWN |= {"do_convert_rgb", "do_flip_channel_order"}
_OTHERS = ("rescale_offset", "include_top", "size_divisor", "do_reduce_labels")
Size = tuple[int, int]


@dataclass(frozen=True)
class Plan:
    """What is done to a picture, in this order; sizes are (height, width) in pixels.

    ``shorter_edge`` resizes and keeps the proportions, ``size`` does not.
    """

    size: Size | None = None
    shorter_edge: int | None = None
    resample: int = Image.Resampling.BILINEAR
    crop: Size | None = None
    scale: float | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    blue_first: bool = False
    channels: int = 3

    @property
    def final_size(self) -> Size | None:
        """The size that every picture ends in; None when it depends on the picture."""
        return self.crop or self.size

    def pixels(self, body: bytes | memoryview) -> Pixels:
        """Return a picture as (height, width, channels): float32, or uint8 where nothing makes fractions.

        Raises BadRequest.
        """
        image = self._resized(opened(body, "RGB" if self.channels == 3 else "L"))
        found: Pixels = np.asarray(image)
        if found.ndim == 2:
            found = found[:, :, None]
        if self.crop is not None:
            found = _cropped(found, self.crop)
        if self.scale is not None:
            found = (found.astype(np.float64) * self.scale).astype(np.float32)
        if self.blue_first:
            found = found[:, :, ::-1]
        if self.mean is not None:
            shift, width = (np.asarray(each, np.float32) for each in (self.mean, self.std))
            found = (found.astype(np.float32) - shift) / width
        return found

    def _resized(self, image: Image.Image) -> Image.Image:
        size = self.size
        if self.shorter_edge is not None:
            short, long = sorted(image.size)
            longer = int(self.shorter_edge * long / short)
            tall = image.height >= image.width
            size = (longer, self.shorter_edge) if tall else (self.shorter_edge, longer)
        if size is None:
            return image
        if size[0] * size[1] > MOST_PIXELS:
            raise BadRequest("the picture is too narrow: resized it would have too many pixels")
        return image.resize((size[1], size[0]), resample=self.resample)


def opened(body: bytes | memoryview, mode: str) -> Image.Image:
    """Return a JPEG or PNG, upright and in ``mode``. Raises BadRequest when it is broken, none, or too large."""
    with _readable():
        image: Image.Image = Image.open(io.BytesIO(body), formats=_FORMATS)
        check_pixels([image.size])
        return _plain(ImageOps.exif_transpose(image)).convert(mode)


def size_of(body: bytes | memoryview) -> Size:
    """Return a picture's width and height by its head. Raises BadRequest."""
    with _readable(), Image.open(io.BytesIO(body), formats=_FORMATS) as image:
        return image.size


def check_pixels(sizes: Iterable[Size]) -> None:
    """Raise BadRequest when pictures have more pixels, all together, than one request may."""
    pixels = sum(width * height for width, height in sizes)
    if pixels > MOST_PIXELS:
        raise BadRequest(f"{pixels:,} pixels were sent, and at most {MOST_PIXELS:,} are read")


@contextmanager
def _readable() -> Iterator[None]:
    """Turn what a decoder raises into BadRequest: of any class, and the body is all that it was given."""
    try:
        yield
    except (MemoryError, BadRequest):
        raise
    except Exception as error:
        raise BadRequest("the picture cannot be read: send a whole JPEG or PNG") from error


def _plain(image: Image.Image) -> Image.Image:
    """Return a picture of 8 bits per channel; Pillow's own conversion cuts 16 bits off at 255."""
    if image.mode == "I" or image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8))
    if image.mode == "P" and "transparency" in image.info:
        return image.convert("RGBA")
    return image


def _cropped(pixels: Pixels, size: Size) -> Pixels:
    """Cut ``size`` out of the middle; what is smaller gets zeros around."""
    height, width = pixels.shape[:2]
    if height < size[0] or width < size[1]:
        whole = np.zeros((max(height, size[0]), max(width, size[1]), pixels.shape[2]), pixels.dtype)
        top = math.ceil((whole.shape[0] - height) / 2)
        left = math.ceil((whole.shape[1] - width) / 2)
        whole[top : top + height, left : left + width] = pixels
        # The window stays where it was over the picture, so an odd rest goes to the same side as there.
        top, left = top + (height - size[0]) // 2, left + (width - size[1]) // 2
        return whole[max(0, top) :, max(0, left) :][: size[0], : size[1]]
    top, left = (height - size[0]) // 2, (width - size[1]) // 2
    return pixels[top : top + size[0], left : left + size[1]]


def plan_of(settings: Mapping[str, Any], channels: int = 3) -> Plan:
    """Return what a ``preprocessor_config.json`` asks for. Raises HandlerInvalid for what is not done here."""
    kind = _kind(settings)
    unknown = [key for key, on in settings.items() if _asks_more(key, on)]
    if unknown:
        raise _invalid(f"{unknown[0]!r} is not done here: write a handler")
    resize: dict[str, Any] = _resizing(settings, kind) if settings.get("do_resize", True) else {}
    crop = None
    if settings.get("do_center_crop", "crop_size" in settings):
        crop = _pair(settings, "crop_size")
    mean, std = _normalizing(settings, channels)
    scaled = settings.get("do_rescale", True)
    return Plan(
        **{"crop": crop, **resize},
        resample=_filter(settings.get("resample", Image.Resampling.BILINEAR)),
        scale=settings.get("rescale_factor", 1 / 255) if scaled else None,
        mean=mean,
        std=std,
        blue_first=bool(settings.get("do_flip_channel_order", False)),
        channels=channels,
    )


def _kind(settings: Mapping[str, Any]) -> str:
    named = settings.get("image_processor_type") or settings.get("feature_extractor_type")
    if named is None:
        return ""
    found = _KIND.fullmatch(str(named))
    if found is None or found[1] not in _KINDS:
        raise _invalid(f"a {named} may do more than is known here: write a handler")
    return found[1]


def _asks_more(key: str, on: Any) -> bool:
    return bool(on) and (key in _OTHERS or (key.startswith("do_") and key not in _KNOWN))


def _resizing(settings: Mapping[str, Any], kind: str) -> dict[str, Any]:
    size = settings.get("size")
    if isinstance(size, int) and kind in _KINDS:
        square = {"height": size, "width": size}
        size = square if kind in _SQUARE else {"shortest_edge": size}
    keys = set(size) if isinstance(size, dict) else set()
    if keys == {"height", "width"}:
        return {"size": _pair({"size": size}, "size")}
    if keys != {"shortest_edge"} or not isinstance(size, dict):
        raise _invalid(
            f'size is {size!r}: write {{"height": .., "width": ..}} or {{"shortest_edge": ..}}'
        )
    edge = _edge(size["shortest_edge"], "size")
    if kind == "ConvNext":
        # Its own rule: a share of the picture below 384, all of it from there.
        if edge >= 384:
            return {"size": (edge, edge)}
        share = settings.get("crop_pct") or 224 / 256
        return {"shorter_edge": int(edge / share), "crop": (edge, edge)}
    if settings.get("crop_pct") is not None:
        raise _invalid("'crop_pct' is not done here: write a handler")
    return {"shorter_edge": edge}


def _normalizing(
    settings: Mapping[str, Any], channels: int
) -> tuple[tuple[float, ...] | None, tuple[float, ...] | None]:
    if not settings.get("do_normalize", "image_mean" in settings):
        return None, None
    found = []
    for key in ("image_mean", "image_std"):
        value = settings.get(key)
        numbers: list[Any] = value if isinstance(value, list) else [value] * channels
        if len(numbers) != channels or not all(isinstance(n, int | float) for n in numbers):
            raise _invalid(f"{key} is {value!r}: write one number for each of {channels} channels")
        found.append(tuple(float(number) for number in numbers))
    if 0.0 in found[1]:
        raise _invalid("image_std holds a 0")
    return found[0], found[1]


def _pair(settings: Mapping[str, Any], key: str) -> Size:
    value = settings.get(key)
    if isinstance(value, int):
        value = {"height": value, "width": value}
    if not isinstance(value, dict) or not {"height", "width"} <= set(value):
        raise _invalid(f'{key} is {value!r}: write {{"height": .., "width": ..}}')
    return _edge(value["height"], key), _edge(value["width"], key)


def _filter(value: Any) -> int:
    known = [int(each) for each in Image.Resampling]
    if value not in known:
        raise _invalid(f"resample is {value!r}, none of Pillow's filters {known}")
    return int(value)


def _edge(value: Any, key: str) -> int:
    if not isinstance(value, int) or not 1 <= value <= 10_000:
        raise _invalid(f"{key} holds {value!r}: write pixels, a whole number up to 10,000")
    return value


def _invalid(problem: str) -> HandlerInvalid:
    return HandlerInvalid(f"preprocessor_config.json: {problem}")
