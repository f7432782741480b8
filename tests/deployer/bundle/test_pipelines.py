"""Scripts for the Hugging Face toolkit without ``model_fn``: the folder is the pipeline."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deployer.bundle.archive import unpack
from deployer.bundle.build import build
from deployer.clients.http import HttpInvoker
from deployer.deployments.local import server as servers

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")

from inference_code.errors import BadRequest, HandlerInvalid  # noqa: E402
from inference_code.handler import pipelines  # noqa: E402
from inference_code.handler.defaults import HuggingFace  # noqa: E402

pytestmark = [pytest.mark.serve, pytest.mark.optimize]

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "film", "a"]
SCRIPT = """
import json


def output_fn(prediction, accept):
    return json.dumps({"found": prediction}), "application/json"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Save a tiny classifier with made-up weights, and its tokenizer."""
    out = tmp_path_factory.mktemp("model")
    words = {word: number for number, word in enumerate(WORDS)}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordPiece(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    transformers.BertTokenizerFast(tokenizer_object=tokenizer).save_pretrained(out)
    torch.manual_seed(3)
    labels = {0: "negative", 1: "positive"}
    config = transformers.BertConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=12,
        initializer_range=1.0,
        id2label=labels,
        label2id={label: number for number, label in labels.items()},
    )
    transformers.BertForSequenceClassification(config).save_pretrained(out)
    return out


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    shutil.copytree(folder, tmp_path / "copy")
    return tmp_path / "copy"


@pytest.fixture
def served(folder: Path, tmp_path: Path) -> Iterator[HttpInvoker]:
    (tmp_path / "script.py").write_text(SCRIPT)
    (tmp_path / "needs.txt").write_text("torch\ntransformers\n")
    bundle = build(
        folder,
        tmp_path / "dist",
        name="script",
        handler=tmp_path / "script.py",
        requirements=tmp_path / "needs.txt",
    )
    digest = unpack(bundle.path, tmp_path / "unpacked").digest
    port, log = servers.free_port(), tmp_path / "server.log"
    server = servers.start(tmp_path / "unpacked", port, log=log, digest=digest)
    try:
        servers.wait_ready(server, log, limit_s=90)
        yield HttpInvoker(f"http://{servers.HOST}:{port}")
    finally:
        servers.stop(server, 5)


def scores(folder: Path, ids: list[int]) -> list[float]:
    """Return the probabilities by the model itself, without any pipeline."""
    model = transformers.BertForSequenceClassification.from_pretrained(folder).eval()
    with torch.no_grad():
        return torch.softmax(model(torch.tensor([ids])).logits[0], 0).tolist()


def test_a_script_without_model_fn_answers_by_the_folders_pipeline(
    served: HttpInvoker, folder: Path
) -> None:
    def ask(body: object) -> tuple[int, object]:
        headers = {"Content-Type": "application/json"}
        answer = served.request("POST", "/invocations", json.dumps(body).encode(), headers)
        return answer.status, json.loads(answer.content)

    status, answer = ask({"inputs": ["good film", "bad"], "parameters": {"top_k": None}})
    assert status == 200
    expected = [scores(folder, [2, 5, 7, 3]), scores(folder, [2, 6, 3])]
    for found, wanted in zip(answer["found"], expected, strict=True):
        by_label = {each["label"]: each["score"] for each in found}
        assert by_label == pytest.approx(dict(zip(("negative", "positive"), wanted, strict=True)))
    for wrong, words in (
        ({"inputs": 5}, "inputs: expected a text"),
        ({"inputs": "a", "parameters": 5}, "parameters: expected an object"),
        ({"inputs": "a " * 20}, "a text has 22 tokens, and this model takes 12"),
    ):
        status, answer = ask(wrong)
        assert (status, words in answer["message"]) == (400, True), answer


def test_a_parameter_that_a_task_does_not_know_is_the_callers_mistake() -> None:
    def _sanitize_parameters(*, stride: int) -> None: ...

    with pytest.raises(TypeError) as caught:
        _sanitize_parameters(bogus=1)  # type: ignore[call-arg]
    refused = pipelines.refusal(caught.value, None, "a")
    assert refused is not None
    assert refused.message == "parameters: 'bogus' is none of this task's"
    assert pipelines.refusal(TypeError("something else"), None, "a") is None


ZERO = "zero-shot-classification"


@pytest.fixture(scope="module")
def zero_shot(folder: Path) -> object:
    """Return the pipeline that takes the tiny classifier for one of entailment."""
    model = transformers.BertForSequenceClassification.from_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    return transformers.pipeline(ZERO, model=model, tokenizer=tokenizer)


@pytest.mark.parametrize(
    "parameters",
    [{}, {"candidate_labels": []}, {"candidate_labels": 5}, {"candidate_labels": [""]}],
)
def test_labels_that_a_task_needs_are_asked_for_by_name(
    zero_shot: object, parameters: dict
) -> None:
    with pytest.raises(BadRequest) as caught:
        HuggingFace().predict({"inputs": "a film", "parameters": parameters}, zero_shot)
    assert caught.value.message == (
        "parameters: zero-shot-classification needs 'candidate_labels', a list of texts: send "
        '"parameters": {"candidate_labels": ["sport", "politics"]}, or have the model\'s config.json name them '
        'under "task_specific_params": {"zero-shot-classification": ...}'
    )


def test_labels_come_from_the_request_else_from_the_config(zero_shot: Any) -> None:
    config = zero_shot.model.config
    config.task_specific_params = {ZERO: {"candidate_labels": ["good", "bad"]}}
    try:
        own = HuggingFace().predict("a film", zero_shot)
        asked = {"inputs": "a film", "parameters": {"candidate_labels": "film,a"}}
        sent = HuggingFace().predict(asked, zero_shot)
    finally:
        config.task_specific_params = None
    assert (sorted(own["labels"]), sorted(sent["labels"])) == (["bad", "good"], ["a", "film"])


class Asked:
    """Stands where a pipeline of a task does, whose model would be too large for a test."""

    def __init__(self, task: str) -> None:
        self.task = task

    def __call__(self, inputs: object, **parameters: object) -> list[object]:
        return [inputs, parameters]


@pytest.mark.parametrize(
    ("task", "inputs", "missing", "form"),
    [
        ("question-answering", {"question": "who?"}, "context", '"question": ..., "context": ...'),
        ("question-answering", "who?", "question", '"question": ..., "context": ...'),
        ("question-answering", [{"question": "who?", "context": ""}], "context", '"context": ...'),
        (
            "table-question-answering",
            {"table": {"a": ["1"]}},
            "query",
            '"table": ..., "query": ...',
        ),
        (
            "visual-question-answering",
            {"image": "x.png"},
            "question",
            '"image": ..., "question": ...',
        ),
    ],
)
def test_parts_that_a_task_needs_are_asked_for_by_name(
    task: str, inputs: object, missing: str, form: str
) -> None:
    with pytest.raises(BadRequest) as caught:
        HuggingFace().predict({"inputs": inputs}, Asked(task))
    assert f"inputs: {task} needs '{missing}' in each input: send" in caught.value.message
    assert form in caught.value.message


def test_a_part_may_come_with_the_parameters() -> None:
    whole = {"inputs": {"image": "x.png"}, "parameters": {"question": "how many?"}}
    asked = Asked("visual-question-answering")
    assert HuggingFace().predict(whole, asked) == [{"image": "x.png"}, {"question": "how many?"}]


def test_pickled_weights_are_not_read(copy: Path) -> None:
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    with pytest.raises(HandlerInvalid, match=r"holds no \.safetensors"):
        pipelines.load(copy)


def test_a_task_whose_layers_the_weights_lack_is_refused(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TASK", "fill-mask")
    with pytest.raises(
        HandlerInvalid, match=r"the weights lack cls\..*not trained for 'fill-mask'"
    ):
        pipelines.load(copy)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"architectures": ["Mystery"]}, "tells no task"),
        ({"architectures": ["BertForQuestionAnswering"]}, "no pipeline for 'question-answering'"),
        ({"pipeline_tag": "translation-of-dreams"}, "no pipeline for 'translation-of-dreams'"),
    ],
)
def test_a_task_that_is_not_told_or_not_there_is_refused(
    tmp_path: Path, config: object, words: str
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(HandlerInvalid, match=words):
        pipelines.load(tmp_path)


def test_without_transformers_the_requirements_are_named(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(HandlerInvalid, match="name transformers and torch in the requirements"):
        pipelines.load(copy)
