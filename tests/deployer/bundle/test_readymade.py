"""Handlers by name: packaged with what they need, served as real processes, right or refused."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from deployer.bundle.archive import unpack
from deployer.bundle.build import build
from deployer.bundle.readymade import READY
from deployer.clients.base import Answer
from deployer.clients.http import HttpInvoker
from deployer.deployments.local import server as servers
from deployer.errors import InputError
from inference_code.contract import REQUIREMENTS_PATH

onnx = pytest.importorskip("onnx")
Image = pytest.importorskip("PIL.Image")
tokenizers = pytest.importorskip("tokenizers")
pytestmark = [pytest.mark.serve, pytest.mark.optimize]

JSON = "application/json"
PREPROCESSOR = {
    "size": {"height": 4, "width": 4},
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.25, 0.25, 0.25],
}
LABELS = {"id2label": {"0": "red", "1": "green", "2": "blue"}}
WORDS = ["[PAD]", "[UNK]", "good", "bad", "film"]
#: What each word adds to (negative, positive); the filler's would show, were it counted.
TABLE = [[50, 50], [0, 0], [0, 4], [4, 0], [1, 1]]


def save(path: Path, nodes, inputs, outputs, weights=()) -> None:
    """Write an ONNX file; an input or output is its name, element type and shape."""
    info = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node(op, ins, outs, **kw) for op, ins, outs, kw in nodes],
        "g",
        [info(*each) for each in inputs],
        [info(*each) for each in outputs],
        [onnx.numpy_helper.from_array(value, name) for name, value in weights],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)])
    model.ir_version = 9
    onnx.save(model, path)


def write(folder: Path, **files: object) -> None:
    for name, value in files.items():
        (folder / f"{name}.json").write_text(json.dumps(value))


@pytest.fixture
def colours(tmp_path: Path) -> Path:
    """A model whose logits are the mean of each channel."""
    folder = tmp_path / "in"
    folder.mkdir()
    save(
        folder / "model.onnx",
        [("ReduceMean", ["x"], ["y"], {"axes": [2, 3], "keepdims": 0})],
        [("x", 1, ["n", 3, 4, 4])],
        [("y", 1, ["n", 3])],
    )
    write(folder, preprocessor_config=PREPROCESSOR, config=LABELS)
    return folder / "model.onnx"


@pytest.fixture
def words(tmp_path: Path) -> Path:
    """A classifier of texts: the mean over a text's own words of what each adds."""
    folder = tmp_path / "in"
    folder.mkdir()
    axes, one = np.array([2]), np.array([1])
    save(
        folder / "model.onnx",
        [
            ("Gather", ["table", "input_ids"], ["each"], {}),
            ("Cast", ["attention_mask"], ["mask"], {"to": 1}),
            ("Unsqueeze", ["mask", "axes"], ["wide"], {}),
            ("Mul", ["each", "wide"], ["own"], {}),
            ("ReduceSum", ["own", "one"], ["sum"], {"keepdims": 0}),
            ("ReduceSum", ["mask", "one"], ["count"], {"keepdims": 1}),
            ("Div", ["sum", "count"], ["logits"], {}),
        ],
        [("input_ids", 7, ["n", "t"]), ("attention_mask", 7, ["n", "t"])],
        [("logits", 1, ["n", 2])],
        [("table", np.float32(TABLE)), ("axes", axes), ("one", one)],
    )
    save_tokenizer(folder)
    labels = {"id2label": {"0": "negative", "1": "positive"}}
    write(folder, config={"architectures": ["TinyForSequenceClassification"], **labels})
    return folder / "model.onnx"


def save_tokenizer(folder: Path) -> None:
    numbers = {word: number for number, word in enumerate(WORDS)}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(numbers, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))


@contextmanager
def served(folder: Path, model: Path, handler: str) -> Iterator[HttpInvoker]:
    bundle = build(model, folder / "dist", name="d", handler=handler)
    digest = unpack(bundle.path, folder / "unpacked").digest
    port, log = servers.free_port(), folder / "server.log"
    server = servers.start(folder / "unpacked", port, log=log, digest=digest)
    try:
        servers.wait_ready(server, log, limit_s=60)
        yield HttpInvoker(f"http://{servers.HOST}:{port}")
    finally:
        servers.stop(server, 5)


def ask(server: HttpInvoker, body: object, kind: str = JSON, accept: str = "*/*") -> Answer:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"Content-Type": kind, "Accept": accept}
    return server.request("POST", "/invocations", content, headers)


def picture(colour: tuple[int, int, int], kind: str = "PNG", size: int = 16) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (size, size), colour).save(file, format=kind)
    return file.getvalue()


def softmax(logits: list[float]) -> np.ndarray:
    powers = np.exp(np.asarray(logits) - max(logits))
    return powers / powers.sum()


def test_pictures_get_the_labels_of_their_colours(tmp_path: Path, colours: Path) -> None:
    red, blue = picture((255, 0, 51)), picture((0, 0, 255), "JPEG", 9)
    with served(tmp_path, colours, "image") as server:
        answer = ask(server, red, "image/png", "text/csv;q=0.5, application/json")
        assert answer.content_type == JSON
        # (1 - 0.5) / 0.25, (0 - 0.5) / 0.25, (0.2 - 0.5) / 0.25
        scores = softmax([2.0, -2.0, -1.2])
        expected = [
            {"label": label, "score": pytest.approx(scores[index], abs=1e-6)}
            for label, index in (("red", 0), ("blue", 2), ("green", 1))
        ]
        assert json.loads(answer.content) == expected
        assert json.loads(ask(server, blue, "image/jpeg").content)[0]["label"] == "blue"
        texts = [base64.b64encode(body).decode() for body in (red, blue)]
        several = ask(server, {"inputs": texts, "parameters": {"top_k": 1}})
        assert [[top["label"] for top in each] for each in json.loads(several.content)] == [
            ["red"],
            ["blue"],
        ]
        for body, kind, status in (
            (red[:-30], "image/png", 400),
            (b"no picture", "image/jpeg", 400),
            ({"inputs": "%%%"}, JSON, 400),
            ({"inputs": texts[0], "parameters": {"top_k": 0}}, JSON, 400),
            ({"picture": texts[0]}, JSON, 400),
            (b"GIF89a", "image/gif", 415),
        ):
            assert ask(server, body, kind).status == status
        assert ask(server, red, "image/png", "image/png").status == 406
        shades = [(shade, 255 - shade, 7) for shade in range(0, 256, 8)]
        with ThreadPoolExecutor(8) as pool:
            found = pool.map(lambda c: ask(server, picture(c), "image/png").content, shades)
        for shade, content in zip(shades, found, strict=True):
            scores = softmax([(value / 255 - 0.5) / 0.25 for value in shade])
            by_label = {each["label"]: each["score"] for each in json.loads(content)}
            assert [by_label[name] for name in ("red", "green", "blue")] == pytest.approx(
                list(scores), abs=1e-6
            )


def test_texts_get_labels_that_no_neighbour_changes(tmp_path: Path, words: Path) -> None:
    with served(tmp_path, words, "text") as server:
        answer = json.loads(ask(server, {"inputs": "good film"}).content)
        scores = softmax([0.5, 2.5])
        assert answer == [
            {"label": "positive", "score": pytest.approx(scores[1], abs=1e-6)},
            {"label": "negative", "score": pytest.approx(scores[0], abs=1e-6)},
        ]
        texts = ["bad", "good good good good film", "film bad"]
        several = json.loads(ask(server, {"inputs": texts, "parameters": {"top_k": 1}}).content)
        assert [each[0]["label"] for each in several] == ["negative", "positive", "negative"]
        for wrong in ({"inputs": 5}, {"inputs": []}, {"inputs": ""}, {"text": "a"}, [1]):
            assert ask(server, wrong).status == 400
        with ThreadPoolExecutor(8) as pool:
            lines = [" ".join(["bad"] + ["good"] * count) for count in range(16)]
            found = list(pool.map(lambda t: ask(server, {"inputs": t}).content, lines))
        for count, content in enumerate(found):
            scores = softmax([4 / (count + 1), 4 * count / (count + 1)])
            by_label = {each["label"]: each["score"] for each in json.loads(content)}
            assert by_label["positive"] == pytest.approx(scores[1], abs=1e-6)


def test_what_the_handler_needs_is_added_and_pinned(tmp_path: Path, colours: Path) -> None:
    bundle = build(colours, tmp_path / "out", name="d", handler="image")
    unpack(bundle.path, tmp_path / "unpacked")
    lines = (tmp_path / "unpacked" / REQUIREMENTS_PATH).read_text().splitlines()
    assert set(READY["image"].requirements) <= set(lines)
    assert (tmp_path / "unpacked" / "preprocessor_config.json").is_file()
    assert (tmp_path / "unpacked" / "config.json").is_file()


def test_a_folder_with_the_model_further_down_is_served(tmp_path: Path, colours: Path) -> None:
    (colours.parent / "onnx").mkdir()
    colours.rename(colours.parent / "onnx" / "model.onnx")
    with served(tmp_path, colours.parent, "image") as server:
        answer = ask(server, picture((0, 255, 0)), "image/png")
        assert json.loads(answer.content)[0]["label"] == "green"


def test_pictures_that_would_meet_in_a_batch_are_run_alone(tmp_path: Path, colours: Path) -> None:
    save(
        colours,
        [
            ("ReduceMean", ["x"], ["mean"], {"axes": [2, 3], "keepdims": 0}),
            ("Softmax", ["mean"], ["y"], {"axis": 0}),  # over the batch: 1 for who is alone
        ],
        [("x", 1, ["n", 3, 4, 4])],
        [("y", 1, ["n", 3])],
    )
    (colours.parent / "config.json").unlink()
    red, blue = (base64.b64encode(picture(c)).decode() for c in ((255, 0, 0), (0, 0, 255)))
    with served(tmp_path, colours, "image") as server, ThreadPoolExecutor(8) as pool:
        bodies = [{"inputs": [red, blue]}, {"inputs": [blue]}] * 8
        for found in pool.map(lambda body: json.loads(ask(server, body).content), bodies):
            assert [each["outputs"]["y"] for each in found] == [[1, 1, 1]] * len(found)


def test_packaging_proves_that_pictures_may_be_joined(tmp_path: Path, colours: Path) -> None:
    proof = build(colours, tmp_path / "out", name="d", handler="image").manifest.proof
    assert proof is not None
    assert (proof.axes, proof.outputs) == ({"x": 0}, {"y": 0})


def test_the_pins_are_the_tested_versions() -> None:
    tested = (Path(__file__).parents[3] / "constraints.txt").read_text().splitlines()
    for ready in READY.values():
        assert set(ready.requirements) <= set(tested)


@pytest.mark.parametrize(
    ("handler", "file"), [("image", "preprocessor_config.json"), ("text", "tokenizer.json")]
)
def test_a_missing_file_is_named_and_may_be_given_by_extra(
    tmp_path: Path, colours: Path, handler: str, file: str
) -> None:
    (colours.parent / file).unlink(missing_ok=True)
    with pytest.raises(InputError) as caught:
        build(colours, tmp_path / "out", name="d", handler=handler)
    assert f"the handler {handler!r} needs {file!r}, which does not come with" in str(caught.value)
    assert f"--extra {file}" in (caught.value.hint or "")
    (tmp_path / file).write_text("{}")
    with pytest.raises(InputError) as caught:  # and what is in it is read
        build(colours, tmp_path / "out", name="d", handler=handler, extra=[tmp_path / file])
    assert not (caught.value.hint or "").startswith("save it beside")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"size": {"heigth": 4}}, 'write {"height": .., "width": ..} or {"shortest_edge": ..}'),
        ({"image_processor_type": "DetrImageProcessor"}, "a DetrImageProcessor may do more"),
        ({"image_std": [1.0]}, "image_std is [1.0]: write one number for each of 3 channels"),
    ],
)
def test_what_the_handler_cannot_do_is_told_when_it_is_packaged(
    tmp_path: Path, colours: Path, changes: dict[str, object], words: str
) -> None:
    write(colours.parent, preprocessor_config={**PREPROCESSOR, **changes})
    with pytest.raises(InputError) as caught:
        build(colours, tmp_path / "out", name="d", handler="image")
    assert words in str(caught.value)
    assert str(caught.value).startswith(f"{str(colours)!r} cannot be served as it is given: ")
    assert not list((tmp_path / "out").glob("*"))


def test_a_name_that_is_no_file_and_no_handler_lists_those_there_are(
    tmp_path: Path, colours: Path
) -> None:
    with pytest.raises(InputError, match="'imge' is no file, and no handler") as caught:
        build(colours, tmp_path / "out", name="d", handler="imge")
    assert caught.value.hint == "known: image, text; or give a path: --handler inference.py"


def test_a_file_of_that_name_is_the_handler(
    tmp_path: Path, colours: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "image").write_text("def model_fn(folder): return 1\n")
    bundle = build(colours, tmp_path / "out", name="d", handler="image")
    unpack(bundle.path, tmp_path / "unpacked")
    assert "model_fn" in (tmp_path / "unpacked/code/inference.py").read_text()


def test_a_model_that_is_no_onnx_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(b"PK")
    with pytest.raises(InputError, match="is not one ONNX model, and the handler 'image' serves"):
        build(tmp_path / "model.pt", tmp_path / "out", name="d", handler="image")
