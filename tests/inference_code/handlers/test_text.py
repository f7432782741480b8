"""The handler of texts: pooling, fixed shapes, cut texts, and what it refuses to start with."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

tokenizers = pytest.importorskip("tokenizers")

from inference_code.errors import HandlerInvalid  # noqa: E402
from inference_code.handler import Context  # noqa: E402
from inference_code.handlers import sentences  # noqa: E402
from inference_code.handlers.text import Handler  # noqa: E402

Save = Callable[..., Path]
WORDS = ["[PAD]", "[UNK]", "a", "b", "c"]
TABLE = np.float32([[9, 9], [0, 0], [1, 0], [0, 2], [3, 4]])
GATHER = ("Gather", ["table", "input_ids"], ["hidden"], {})
#: The mask must be an input that counts, or ONNX Runtime drops it.
HIDDEN = (
    ("Cast", ["attention_mask"], ["mask"], {"to": 1}),
    ("Unsqueeze", ["mask", "axes"], ["wide"], {}),
    ("Gather", ["table", "input_ids"], ["each"], {}),
    ("Mul", ["wide", "zero"], ["none"], {}),
    ("Add", ["each", "none"], ["hidden"], {}),
)
WEIGHTS = (("table", TABLE), ("axes", np.array([2])), ("zero", np.float32(0)))


def encoder(save: Save, shape=("n", "t"), kind=7, nodes=HIDDEN, **files: object) -> Path:
    names = [name for name in ("input_ids", "attention_mask") if name in str(nodes)]
    folder = save(
        nodes,
        [(name, kind, shape) for name in names],
        [("hidden", 1, (*shape, 2))],
        WEIGHTS,
        {f"{name.replace('__', '/')}.json": value for name, value in files.items()},
    )
    numbers = {word: number for number, word in enumerate(WORDS)}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(numbers, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def loaded(folder: Path, kind=Handler):
    handler = kind()
    handler.load(Context(folder))
    return handler


def answer(handler, *texts: object) -> list[object]:
    bodies = [json.dumps({"inputs": text}).encode() for text in texts]
    items = [handler.decode(body, "application/json") for body in bodies]
    return [json.loads(handler.encode(output, "")[0]) for output in handler.predict(items)]


def pooling(**modes: bool) -> dict[str, object]:
    return {f"pooling_mode_{name}": on for name, on in modes.items()}


def steps(*names: str) -> list[dict[str, str]]:
    return [{"type": f"sentence_transformers.models.{name}"} for name in names]


def test_an_encoder_answers_the_mean_of_its_tokens_of_length_one(
    save: Save, proved: Callable[[Path], Context]
) -> None:
    folder = encoder(save)
    assert not loaded(folder).batches
    handler = Handler()
    handler.load(proved(folder))
    assert handler.batches, handler.unbatched
    root = 5**0.5  # the mean of (1, 0) and (0, 2) is (0.5, 1)
    assert answer(handler, "a b", ["c", "a"]) == [
        pytest.approx([1 / root, 2 / root]),
        [pytest.approx([0.6, 0.8]), pytest.approx([1, 0])],
    ]


def test_it_answers_as_the_older_handler_of_sentences(save: Save) -> None:
    folder = encoder(save)
    texts = ["a b c", ["c c a", "b"]]
    assert answer(loaded(folder), *texts) == answer(loaded(folder, sentences.Handler), *texts)


@pytest.mark.parametrize(
    ("modes", "modules", "expected"),
    [
        ({"mean_tokens": True, "cls_token": False}, ("Transformer", "Pooling"), [2, 2]),
        ({"cls_token": True}, ("Transformer", "Pooling"), [1, 0]),
        ({"max_tokens": True}, ("Transformer", "Pooling"), [3, 4]),
        ({"cls_token": True}, ("Transformer", "Pooling", "Normalize"), [1, 0]),
        ({"mean_tokens": True}, ("Transformer", "Pooling", "Normalize"), [0.5**0.5] * 2),
    ],
)
def test_tokens_are_pooled_as_the_files_of_sentence_transformers_say(
    save: Save, modes: dict[str, bool], modules: tuple[str, ...], expected: list[float]
) -> None:
    folder = encoder(save, **{"1_Pooling__config": pooling(**modes), "modules": steps(*modules)})
    # A longer neighbour makes filler, which must not count.
    assert answer(loaded(folder), "a c", "b b b b b")[0] == pytest.approx(expected)


def test_a_model_of_fixed_shape_is_filled_and_fed_one_text_at_a_time(save: Save) -> None:
    handler = loaded(encoder(save, shape=(1, 3), kind=6, modules=steps("Transformer")))
    assert not handler.batches
    found = answer(handler, ["a b", "a a a c c"])
    assert found == [[pytest.approx([0.5, 1]), pytest.approx([1, 0])]]  # cut at 3 tokens


def test_a_model_without_a_mask_never_sees_filler(save: Save) -> None:
    folder = encoder(save, nodes=(GATHER,), modules=steps("Transformer"))
    handler = loaded(folder)
    assert not handler.batches
    assert answer(handler, "a", "c c c")[0] == pytest.approx([1, 0])


@pytest.mark.parametrize(
    ("files", "most"),
    [
        ({}, 512),
        ({"config": {"max_position_embeddings": 4}}, 4),
        (
            {
                "config": {
                    "model_type": "roberta",
                    "max_position_embeddings": 6,
                    "pad_token_id": 1,
                }
            },
            4,
        ),
        ({"tokenizer_config": {"model_max_length": 10**30}}, 512),
        (
            {
                "tokenizer_config": {"model_max_length": 5},
                "sentence_bert_config": {"max_seq_length": 3},
            },
            3,
        ),
    ],
)
def test_longer_texts_are_cut_at_what_the_model_takes(
    save: Save, files: Mapping[str, object], most: int
) -> None:
    handler = loaded(encoder(save, **files))
    body = json.dumps({"inputs": "a " * 600}).encode()
    assert handler.length(handler.decode(body, "application/json")) == most


REFUSED: dict[str, tuple[Mapping[str, object], str]] = {
    "task": ({"config": {"architectures": ["BertForTokenClassification"]}}, "config.json says Be"),
    "classifier of three axes": (
        {"config": {"architectures": ["BertForSequenceClassification"]}},
        "'hidden' has 3 axes",
    ),
    "dense": ({"modules": steps("Transformer", "Pooling", "Dense")}, "has the step 'Dense'"),
    "two pools": (
        {"1_Pooling__config": pooling(mean_tokens=True, cls_token=True)},
        "asks for pooling_mode_mean_tokens, pooling_mode_cls_token",
    ),
    "no pool": ({"1_Pooling__config": pooling(cls_token=False)}, "asks for nothing"),
    "modules": ({"modules": [1]}, "is no list of steps"),
    "config": ({"config": [1]}, "must hold an object"),
    "two at a time": ({"shape": (2, "t")}, "exactly 2 texts at a time"),
    "no mask": ({"shape": ("n", 4), "nodes": (GATHER,)}, "exactly 4 tokens and no attention_mask"),
    "no texts": ({"shape": ("n", "t", "k")}, "are no texts by tokens"),
}


@pytest.mark.parametrize(("files", "words"), REFUSED.values(), ids=REFUSED)
def test_what_does_not_fit_together_is_refused_at_the_start(
    save: Save, files: Mapping[str, object], words: str
) -> None:
    with pytest.raises(HandlerInvalid, match=words):
        loaded(encoder(save, **files))


def test_a_file_that_is_no_tokenizer_is_refused(save: Save) -> None:
    folder = encoder(save)
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(HandlerInvalid, match=r"tokenizer\.json is no tokenizer"):
        loaded(folder)
