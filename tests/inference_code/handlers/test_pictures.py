"""Pictures become the numbers that transformers' own processors make; broken ones are the caller's mistake."""

from __future__ import annotations

import io
import json
import struct
import zlib

import numpy as np
import pytest

Image = pytest.importorskip("PIL.Image")

from inference_code.errors import BadRequest, HandlerInvalid  # noqa: E402
from inference_code.handlers import pictures  # noqa: E402
from inference_code.handlers.pictures import Plan, plan_of  # noqa: E402

AS_IT_IS = {"do_resize": False, "do_rescale": False, "do_normalize": False}


def body(image, kind="PNG", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, format=kind, **options)
    return file.getvalue()


def picture(*pixels, mode="RGB", size=(2, 1)):
    image = Image.new(mode, size)
    image.putdata(list(pixels))
    return image


def noise(width: int, height: int):
    pixels = np.random.default_rng(5).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(pixels)


def read(content: bytes, **settings) -> np.ndarray:
    return plan_of({**AS_IT_IS, **settings}).pixels(content)


def test_numbers_are_rescaled_and_normalized_by_hand() -> None:
    found = read(
        body(picture((255, 0, 51), (0, 0, 0))),
        do_rescale=True,
        do_normalize=True,
        image_mean=[0.5, 0.0, 0.1],
        image_std=[0.5, 1.0, 0.05],
    )
    np.testing.assert_allclose(found, [[[1, 0, 2], [-1, 0, -2]]], atol=1e-6)


def test_the_channel_order_is_turned_round_when_asked() -> None:
    found = read(body(picture((1, 2, 3), (4, 5, 6))), do_flip_channel_order=True)
    assert found.tolist() == [[[3, 2, 1], [6, 5, 4]]]


def test_a_picture_that_lies_on_its_side_is_turned_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees, clockwise
    content = body(picture((255, 0, 0), (0, 0, 255)), exif=exif)
    assert read(content).tolist() == [[[255, 0, 0]], [[0, 0, 255]]]


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (picture(7, 200, mode="L"), [[[7] * 3, [200] * 3]]),
        (picture(0, 1, mode="1"), [[[0] * 3, [255] * 3]]),
        (picture((9, 8, 7, 0), (1, 2, 3, 255), mode="RGBA"), [[[9, 8, 7], [1, 2, 3]]]),
        (picture((9, 0), (1, 255), mode="LA"), [[[9] * 3, [1] * 3]]),
        (picture((9, 8, 7), (1, 2, 3)).quantize(2), [[[9, 8, 7], [1, 2, 3]]]),
        (
            Image.fromarray(np.array([[0x1234, 0xFFFF]], np.uint16)),
            [[[0x12] * 3, [0xFF] * 3]],
        ),
    ],
    ids=["grey", "one bit", "alpha", "grey and alpha", "palette", "16 bits"],
)
def test_every_mode_of_png_becomes_its_colours(image, expected) -> None:
    assert read(body(image)).tolist() == expected


def test_a_jpeg_for_print_has_the_colours_that_one_for_screens_has() -> None:
    red = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    found = read(body(red, "JPEG")).astype(int)
    assert np.abs(found - [255, 0, 0]).max() <= 2


def test_what_is_cut_off_or_damaged_is_refused_or_read_to_the_same_size() -> None:
    rng = np.random.default_rng(1)
    for whole in (body(noise(40, 30)), body(noise(40, 30), "JPEG")):
        for length in range(0, len(whole) - 16, len(whole) // 24):
            with pytest.raises(BadRequest, match="cannot be read"):
                read(whole[:length])
        for _ in range(24):
            damaged = bytearray(whole)
            for place in rng.integers(0, len(whole), 4):
                damaged[place] ^= 0xFF
            try:
                assert read(bytes(damaged)).shape[2] == 3
            except BadRequest:
                continue


def bomb(width: int, height: int) -> bytes:
    """Return a PNG that claims a size and holds almost nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        whole = kind + data
        return struct.pack(">I", len(data)) + whole + struct.pack(">I", zlib.crc32(whole))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


@pytest.mark.parametrize("size", [(10_000, 5_001), (60_000, 60_000), (2_000_000_000, 1)])
def test_a_picture_that_would_fill_the_memory_is_refused(size) -> None:
    with pytest.raises(BadRequest, match=r"pixels|cannot be read"):
        read(bomb(*size))


def test_a_line_is_not_resized_into_one_that_would_fill_the_memory() -> None:
    thin = body(Image.new("RGB", (30_000, 1)))
    with pytest.raises(BadRequest, match="too narrow"):
        read(thin, do_resize=True, size={"shortest_edge": 224})


@pytest.mark.parametrize("content", [b"", b"GIF89a", b"\xff\xd8\xff", b"{}", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_picture_is_refused(content) -> None:
    with pytest.raises(BadRequest, match="send a whole JPEG or PNG"):
        read(content)


PROCESSORS = {
    "ViT": {"size": {"height": 20, "width": 24}, "resample": 2},
    "CLIP": {"size": {"shortest_edge": 24}, "crop_size": {"height": 20, "width": 22}},
    "CLIP smaller": {"size": {"shortest_edge": 15}, "crop_size": {"height": 20, "width": 22}},
    "ConvNext": {"size": {"shortest_edge": 21}, "crop_pct": 0.875},
    "ConvNext large": {"size": {"shortest_edge": 384}},
    **{
        kind: {} for kind in ("DeiT", "Beit", "Siglip", "Blip", "Bit", "MobileNetV1", "MobileNetV2")
    },
}


@pytest.mark.optimize
@pytest.mark.parametrize("size", [(64, 48), (33, 47), (20, 20), (7, 90)])
@pytest.mark.parametrize("name", PROCESSORS)
def test_pixels_are_those_of_transformers(name: str, size: tuple[int, int]) -> None:
    transformers = pytest.importorskip("transformers")
    kind = name.split()[0]
    processor = getattr(transformers, f"{kind}ImageProcessorPil")(**PROCESSORS[name])
    settings = json.loads(processor.to_json_string())
    image = noise(*size)
    expected = processor(image, return_tensors="np")["pixel_values"][0]
    found = plan_of(settings).pixels(body(image)).transpose(2, 0, 1)
    np.testing.assert_allclose(found, expected, atol=2e-6)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"image_processor_type": "DetrImageProcessor"}, "a DetrImageProcessor may do more"),
        ({"do_pad": True}, "'do_pad' is not done here"),
        ({"include_top": True}, "'include_top' is not done here"),
        ({"size": 224}, "size is 224: write"),
        ({}, "size is None: write"),
        ({"size": {"longest_edge": 9}}, "size is {'longest_edge': 9}: write"),
        ({"size": {"height": 0, "width": 2}}, "size holds 0: write pixels"),
        ({"do_resize": False, "resample": 9}, "resample is 9, none of Pillow's filters"),
        ({"do_resize": False, "do_center_crop": True}, "crop_size is None: write"),
        ({"do_resize": False, "do_normalize": True}, "image_mean is None: write"),
        ({"do_resize": False, "image_mean": [1, 2]}, r"image_mean is \[1, 2\]: write one number"),
        ({"do_resize": False, "image_mean": 0, "image_std": 0}, "image_std holds a 0"),
    ],
)
def test_what_is_not_done_here_is_refused_by_its_key(settings, words) -> None:
    with pytest.raises(HandlerInvalid, match=words):
        plan_of(settings)


def test_older_files_give_one_number_of_a_square_or_of_the_shorter_edge() -> None:
    square = {"feature_extractor_type": "ViTFeatureExtractor", "size": 224}
    assert plan_of(square).size == (224, 224)
    shorter = {"feature_extractor_type": "CLIPFeatureExtractor", "size": 224, "crop_size": 224}
    assert plan_of(shorter) == Plan(
        shorter_edge=224, crop=(224, 224), scale=1 / 255, resample=pictures.Image.BILINEAR
    )
