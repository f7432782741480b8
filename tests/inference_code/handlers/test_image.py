"""The handler of pictures: layouts, types, labels, and what it refuses to start with."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

Image = pytest.importorskip("PIL.Image")

from inference_code.errors import BadRequest, HandlerInvalid  # noqa: E402
from inference_code.handler import Context  # noqa: E402
from inference_code.handlers.image import Handler  # noqa: E402

Save = Callable[..., Path]
PLAIN = {"size": {"height": 4, "width": 4}, "do_normalize": False}
WHOLE = {**PLAIN, "do_rescale": False}
THREE = {"id2label": {"0": "red", "1": "green", "2": "blue"}}
MEAN = ("ReduceMean", ["x"], ["y"], {"axes": [2, 3], "keepdims": 0})


def loaded(folder: Path) -> Handler:
    handler = Handler()
    handler.load(Context(folder))
    return handler


def answer(handler: Handler, *colours: tuple[int, int, int]) -> list[object]:
    items = []
    for colour in colours:
        file = io.BytesIO()
        Image.new("RGB", (8, 8), colour).save(file, format="PNG")
        items.append(handler.decode(file.getvalue(), "image/png"))
    return [json.loads(handler.encode(output, "")[0]) for output in handler.predict(items)]


def scores(found) -> dict[str, float]:
    return {each["label"]: each["score"] for each in found}


def colours(save: Save, nodes=(MEAN,), shape=("n", 3, 4, 4), out=("n", 3), kind=1, **files) -> Path:
    names = {f"{name}.json": value for name, value in files.items()}
    return save(nodes, [("x", kind, shape)], [("y", 1, out)], files=names)


def test_without_labels_the_outputs_are_answered_by_name(save: Save) -> None:
    handler = loaded(colours(save, preprocessor_config=PLAIN))
    assert answer(handler, (255, 0, 51)) == [{"outputs": {"y": pytest.approx([1, 0, 0.2])}}]


def test_pictures_are_joined_by_proof_alone(save: Save, proved: Callable[[Path], Context]) -> None:
    folder = colours(save, preprocessor_config=PLAIN)
    unproved = loaded(folder)
    assert (unproved.batches, unproved.unbatched[:18]) == (False, "no manifest proves")
    handler = Handler()
    handler.load(proved(folder))
    assert handler.batches
    tied = ("Softmax", ["x"], ["y"], {"axis": 0})
    shape = ("n", 3, 4, 4)
    handler.load(proved(colours(save, (tied,), shape, shape, preprocessor_config=PLAIN)))
    assert not handler.batches


def test_channels_last_and_blue_first(save: Save) -> None:
    mean = ("ReduceMean", ["x"], ["y"], {"axes": [1, 2], "keepdims": 0})
    settings = {**PLAIN, "do_flip_channel_order": True}
    folder = colours(save, (mean,), ("n", 4, 4, 3), preprocessor_config=settings)
    assert answer(loaded(folder), (255, 0, 51)) == [{"outputs": {"y": pytest.approx([0.2, 0, 1])}}]


def test_a_model_of_grey_pictures_gets_one_channel(save: Save) -> None:
    folder = colours(save, shape=("n", 1, 4, 4), out=("n", 1), preprocessor_config=PLAIN)
    assert answer(loaded(folder), (51, 51, 51)) == [{"outputs": {"y": pytest.approx([0.2])}}]


def test_whole_numbers_reach_a_model_of_whole_numbers(save: Save) -> None:
    nodes = (("Cast", ["x"], ["f"], {"to": 1}), ("ReduceMean", ["f"], ["y"], MEAN[3]))
    folder = colours(save, nodes, kind=2, preprocessor_config=WHOLE)
    assert answer(loaded(folder), (7, 8, 9)) == [{"outputs": {"y": [7, 8, 9]}}]


def test_a_model_of_one_picture_at_a_time_is_fed_so(save: Save) -> None:
    handler = loaded(
        colours(save, shape=(1, 3, 4, 4), out=(1, 3), preprocessor_config=PLAIN, config=THREE)
    )
    assert not handler.batches
    found = answer(handler, (255, 0, 0), (0, 0, 255))
    assert [each[0]["label"] for each in found] == ["red", "blue"]


def test_pictures_of_different_sizes_are_not_joined(save: Save) -> None:
    settings = {"do_resize": False, "do_normalize": False}
    folder = colours(save, shape=("n", 3, "h", "w"), preprocessor_config=settings)
    handler = loaded(folder)
    bodies = []
    for size in ((3, 5), (5, 3), (3, 5)):
        file = io.BytesIO()
        Image.new("RGB", size, (51 * size[0], 0, 0)).save(file, format="PNG")
        bodies.append(handler.decode(file.getvalue(), "image/png"))
    found = [json.loads(handler.encode(each, "")[0]) for each in handler.predict(bodies)]
    assert [each["outputs"]["y"][0] for each in found] == pytest.approx([0.6, 1.0, 0.6])


def test_probabilities_are_not_made_into_others(save: Save) -> None:
    nodes = ((*MEAN[:2], ["m"], MEAN[3]), ("Softmax", ["m"], ["y"], {"axis": 1}))
    folder = colours(save, nodes, preprocessor_config=PLAIN, config=THREE)
    powers = np.exp([1, 0, 0.2])
    found = scores(answer(loaded(folder), (255, 0, 51))[0])
    assert [found[name] for name in ("red", "green", "blue")] == pytest.approx(
        list(powers / powers.sum()), abs=1e-6
    )


@pytest.mark.parametrize(
    ("problem", "expected"),
    [
        ("multi_label_classification", [1 / (1 + np.exp(-1)), 0.5, 1 / (1 + np.exp(-0.2))]),
        ("regression", [1, 0, 0.2]),
    ],
)
def test_the_problem_type_says_what_numbers_become(
    save: Save, problem: str, expected: list[float]
) -> None:
    config = {**THREE, "problem_type": problem}
    handler = loaded(colours(save, preprocessor_config=PLAIN, config=config))
    found = scores(answer(handler, (255, 0, 51))[0])
    assert [found[name] for name in ("red", "green", "blue")] == pytest.approx(expected, abs=1e-6)


def test_pictures_of_one_request_count_together(save: Save) -> None:
    handler = loaded(colours(save, preprocessor_config=PLAIN))
    file = io.BytesIO()
    Image.new("1", (5000, 4000)).save(file, format="PNG")  # 20 million pixels in a few bytes
    text = base64.b64encode(file.getvalue()).decode()
    body = json.dumps({"inputs": [text] * 3}).encode()
    with pytest.raises(BadRequest, match="60,000,000 pixels were sent, and at most 50,000,000"):
        handler.decode(body, "application/json")


REFUSED: dict[str, tuple[dict[str, object], Mapping[str, object], str]] = {
    "no preprocessor": ({}, {}, r"preprocessor_config\.json is missing"),
    "other size": (
        {"shape": ("n", 3, 8, 8)},
        {"preprocessor_config": PLAIN},
        r"makes pictures of 4 by 4, and 'x' takes \[None, 3, 8, 8\]",
    ),
    "any size": (
        {},
        {"preprocessor_config": {**PLAIN, "size": {"shortest_edge": 4}}},
        "makes pictures of any size",
    ),
    "fractions": ({"kind": 2}, {"preprocessor_config": PLAIN}, "takes whole numbers: set do_resc"),
    "two at a time": ({"shape": (2, 3, 4, 4)}, {"preprocessor_config": PLAIN}, "exactly 2 pict"),
    "no picture": ({"shape": ("n", 3, 4)}, {"preprocessor_config": PLAIN}, "of four axes"),
    "channels": ({"shape": ("n", 5, 4, 4)}, {"preprocessor_config": PLAIN}, "no axis of 1 or 3"),
    "labels": (
        {},
        {"preprocessor_config": PLAIN, "config": {"id2label": {"0": "a", "1": "b"}}},
        r"names 2 labels \(id2label\), and the model answers in the shape \[2, 3\]",
    ),
    "gap": (
        {},
        {"preprocessor_config": PLAIN, "config": {"id2label": {"0": "a", "2": "b"}}},
        "id2label must name each label by its number",
    ),
    "problem": (
        {},
        {"preprocessor_config": PLAIN, "config": {**THREE, "problem_type": "x"}},
        "problem_type 'x' is none of",
    ),
}


@pytest.mark.parametrize(("model", "files", "words"), REFUSED.values(), ids=REFUSED)
def test_what_does_not_fit_together_is_refused_at_the_start(
    save: Save, model: dict[str, object], files: Mapping[str, object], words: str
) -> None:
    nodes = (MEAN,)
    if model.get("kind") == 2:
        nodes = (("Cast", ["x"], ["f"], {"to": 1}), ("ReduceMean", ["f"], ["y"], MEAN[3]))
    if len(model.get("shape", "four")) == 3:
        nodes = (("ReduceMean", ["x"], ["y"], {"axes": [2], "keepdims": 0}),)
    out = (None, None)
    with pytest.raises(HandlerInvalid, match=words):
        loaded(colours(save, nodes, out=out, **model, **files))
