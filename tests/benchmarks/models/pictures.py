"""Inputs of vision models: real pictures from wheels, in crops, and printed lines whose text is known.

Each maker returns one example: arrays by input name, the first axis of each of length one. Equal numbers give equal
examples; the numbers below ``CALIBRATION`` are for calibration, those from it on for evaluation and for requests.
"""

from __future__ import annotations

import functools
import io
import re

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from wheels import Wheels

Floats = NDArray[np.float32]
Feeds = dict[str, NDArray[np.generic]]

SKIMAGE, PEOPLE, TEXTS = "scikit-image==0.26.0", "ultralytics==8.4.190", "django==5.2.19"
_PEOPLE = (
    (PEOPLE, "ultralytics/assets/bus.jpg"),
    (PEOPLE, "ultralytics/assets/zidane.jpg"),
    (SKIMAGE, "skimage/data/astronaut.png"),
)
_SCENES = tuple(
    (SKIMAGE, f"skimage/data/{name}")
    for name in ("chelsea.png", "coffee.png", "rocket.jpg", "motorcycle_left.png", "camera.png")
)
_PAGES = tuple((SKIMAGE, f"skimage/data/{name}.png") for name in ("page", "text", "logo"))
_MEAN = np.array([0.485, 0.456, 0.406], np.float32)[:, None, None]
_STD = np.array([0.229, 0.224, 0.225], np.float32)[:, None, None]


@functools.lru_cache(maxsize=32)
def _picture(wheels: Wheels, requirement: str, member: str) -> Image.Image:
    return Image.open(io.BytesIO(wheels.read(requirement, member))).convert("RGB")


def _crop(
    wheels: Wheels, sources: tuple[tuple[str, str], ...], number: int, least: float
) -> Image.Image:
    """Return a crop of at least that share of each side, half of them mirrored, a little lighter or darker."""
    random = np.random.default_rng(number)
    picture = _picture(wheels, *sources[number % len(sources)])
    width, height = (int(side * random.uniform(least, 1)) for side in picture.size)
    left = int(random.integers(0, picture.width - width + 1))
    top = int(random.integers(0, picture.height - height + 1))
    crop = picture.crop((left, top, left + width, top + height))
    if random.random() < 0.5:
        crop = crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    light = random.uniform(0.8, 1.15)
    return crop.point(lambda value: int(min(255, value * light)))


def _planes(picture: Image.Image) -> Floats:
    """Return (3, height, width) in 0..255, red first."""
    return np.ascontiguousarray(np.asarray(picture, np.float32).transpose(2, 0, 1))


def _letterbox(picture: Image.Image, side: int, *, centred: bool, fill: int) -> Image.Image:
    scale = side / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    canvas = Image.new("RGB", (side, side), (fill, fill, fill))
    place = ((side - size[0]) // 2, (side - size[1]) // 2) if centred else (0, 0)
    canvas.paste(picture.resize(size, Image.Resampling.BILINEAR), place)
    return canvas


def nudenet(wheels: Wheels, number: int) -> Feeds:
    """People, as nudenet itself reads pictures: padded below and to the right, 320 by 320, 0 to 1."""
    square = _letterbox(_crop(wheels, _PEOPLE, number, 0.5), 320, centred=False, fill=0)
    return {"images": _planes(square)[None] / 255}


def detector(wheels: Wheels, number: int) -> Feeds:
    """Scenes and people, letterboxed to 320 by 320, 0 to 1."""
    square = _letterbox(_crop(wheels, _SCENES + _PEOPLE, number, 0.5), 320, centred=True, fill=114)
    return {"images": _planes(square)[None] / 255}


def yolox(wheels: Wheels, number: int) -> Feeds:
    """Printed lines on scenes, 416 by 416, 0 to 255."""
    scene = _crop(wheels, _SCENES, number, 0.5).resize((416, 416))
    scene.paste(_line(wheels, number, 24), (20 + number % 60, 30 + 5 * (number % 50)))
    return {"images": _planes(scene)[None]}


def nsfw(wheels: Wheels, number: int) -> Feeds:
    """Scenes and people, 224 by 224, blue first, less the mean of its training set; channels last."""
    crop = _crop(wheels, _SCENES + _PEOPLE, number, 0.4).resize((224, 224))
    pixels = np.asarray(crop, np.float32)[:, :, ::-1] - np.array([104, 117, 123], np.float32)
    return {"input:0": np.ascontiguousarray(pixels)[None]}


def turned(wheels: Wheels, number: int) -> Feeds:
    """Printed pages turned by 0, 90, 180 or 270 degrees clockwise: the label."""
    label = number % 4
    page = Image.new("RGB", (260, 340), (255, 255, 255))
    for row in range(14):
        page.paste(_line(wheels, 100 * number + row, 16).crop((0, 0, 230, 20)), (15, 12 + 23 * row))
    page = page.rotate(-90 * label, expand=True)
    square = _letterbox(page, 320, centred=True, fill=255)
    return {
        "x": ((_planes(square) / 255 - _MEAN) / _STD)[None],
        "label": np.array([label], np.int64),
    }


def page(wheels: Wheels, number: int, name: str = "x") -> Feeds:
    """Scanned and printed text, 320 by 320, -1 to 1."""
    if number % 2:
        crop = _crop(wheels, _PAGES, number, 0.4).resize((320, 320))
    else:
        crop = _crop(wheels, _SCENES, number, 0.5).resize((320, 320))
        for row in range(3):
            crop.paste(_line(wheels, 10 * number + row, 22), (10 + 9 * row, 40 + 90 * row))
    return {name: (_planes(crop) / 127.5 - 1)[None]}


def line(wheels: Wheels, number: int, width: int = 320) -> Feeds:
    """A printed line of English, 48 high, -1 to 1."""
    return {"x": (_planes(_line(wheels, number, 36).resize((width, 48))) / 127.5 - 1)[None]}


def upside(wheels: Wheels, number: int) -> Feeds:
    """A printed line, every other one upside down: the label."""
    label = number % 2
    image = _line(wheels, number, 36).resize((192, 48)).rotate(180 * label)
    return {
        "x": (_planes(image) / 127.5 - 1)[None],
        "label": np.array([label], np.int64),
    }


def grey_word(wheels: Wheels, number: int) -> Feeds:
    """A printed word in grey, 64 high and 160 wide, 0 to 1."""
    random = np.random.default_rng(number)
    word = "".join(random.choice(list("ABCDEFGHKLMNPRSTUWXY23456789"), 4))
    grey = _printed(word, 44, pad=10).convert("L").resize((160, 64))
    return {"input1": np.asarray(grey, np.float32)[None, None] / 255}


def captcha(wheels: Wheels, number: int) -> Feeds:
    """Five printed letters behind strokes, 60 by 160, blue first, 0 to 255."""
    random = np.random.default_rng(number)
    word = "".join(random.choice(list("abcdefghkmnpqrstuvwxyz23456789"), 5))
    image = _printed(word, 38, pad=6).resize((160, 60))
    draw = ImageDraw.Draw(image)
    for _ in range(4):
        ends = [int(value) for value in random.integers(0, 160, 4)]
        draw.line((ends[0], ends[1] % 60, ends[2], ends[3] % 60), fill=(120, 90, 60), width=1)
    return {"image": np.ascontiguousarray(_planes(image)[::-1])[None]}


@functools.lru_cache(maxsize=1)
def _sentences(wheels: Wheels) -> list[str]:
    text = wheels.read(TEXTS, "django/contrib/admin/locale/km/LC_MESSAGES/django.po").decode()
    found = re.findall(r'^msgid "([A-Z][A-Za-z ,.]{12,60})"$', text, re.MULTILINE)
    return [sentence.strip() for sentence in found]


def _line(wheels: Wheels, number: int, size: int) -> Image.Image:
    """Return 24 letters of a sentence of Django's catalogue, printed."""
    random = np.random.default_rng(number)
    sentences = _sentences(wheels)
    sentence = sentences[number % len(sentences)] + f" {random.integers(10, 9999)}"
    start = int(random.integers(0, max(1, len(sentence) - 24)))
    return _printed(sentence[start : start + 24], size, pad=4)


def _printed(text: str, size: int, *, pad: int) -> Image.Image:
    font = ImageFont.load_default(size)
    left, top, right, bottom = font.getbbox(text)
    image = Image.new(
        "RGB", (int(right - left) + 2 * pad, int(bottom - top) + 2 * pad), (250, 248, 240)
    )
    ImageDraw.Draw(image).text((pad - left, pad - top), text, font=font, fill=(30, 30, 45))
    return image
