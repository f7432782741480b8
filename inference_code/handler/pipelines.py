"""A Hugging Face pipeline from a model folder, for scripts that have no ``model_fn``.

As in AWS's toolkit, but the weights are safetensors, nothing is unpickled, downloaded or run from the folder, and a
task whose layers the weights lack is refused: transformers would make them up.
"""

from __future__ import annotations

import importlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from inference_code.errors import BadRequest, HandlerInvalid

TASK_ENV = "HF_TASK"
_TASKS = {
    "ForQuestionAnswering": "question-answering",
    "TapasForQuestionAnswering": "table-question-answering",
    "ForTokenClassification": "token-classification",
    "ForSequenceClassification": "text-classification",
    "ForMaskedLM": "fill-mask",
    "ForCausalLM": "text-generation",
    "GPT2LMHeadModel": "text-generation",
    "ForConditionalGeneration": "text2text-generation",
    "MTModel": "text2text-generation",
    "ForImageClassification": "image-classification",
    "ForObjectDetection": "object-detection",
    "ForAudioClassification": "audio-classification",
    "ForCTC": "automatic-speech-recognition",
    "Model": "feature-extraction",
}
"""What a class is for, by the end of its name; the longest end counts."""
_TEXT_TASKS = {"text-classification", "token-classification", "fill-mask", "feature-extraction"}
_LABELLED, _LABELS = "zero-shot-", "candidate_labels"
_PARTS: Mapping[str, tuple[str, ...]] = {
    "question-answering": ("question", "context"),
    "table-question-answering": ("table", "query"),
    "document-question-answering": ("image", "question"),
    "visual-question-answering": ("image", "question"),
}
"""What each input of a task must hold."""
_LOCAL = {"local_files_only": True, "trust_remote_code": False}
_UNKNOWN = re.compile(r"unexpected keyword argument '(\w+)'")


def is_folder(model_dir: Path) -> bool:
    """Return whether ``config.json`` names a class of transformers."""
    return bool(_config(model_dir).get("architectures"))


def load(model_dir: Path) -> Any:
    """Return the pipeline of a folder: its task by HF_TASK, else by ``config.json``. Raises HandlerInvalid."""
    task = _task(model_dir)
    transformers = _transformers()
    transformers.utils.logging.disable_progress_bar()
    try:
        _, target, _ = transformers.pipelines.PIPELINE_REGISTRY.check_task(task)
    except KeyError:
        raise HandlerInvalid(
            f"transformers {transformers.__version__} has no pipeline for {task!r}: write model_fn, "
            f"or set {TASK_ENV}"
        ) from None
    model = _model(model_dir, task, target["pt"])
    cuda = importlib.import_module("torch").cuda.is_available()
    processors = _processors(transformers, model_dir)
    return transformers.pipeline(task, model=model, device=0 if cuda else "cpu", **processors)


def checked(pipeline: Any, inputs: Any, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of a request, with the labels that ``config.json`` has where it names none.

    Raises BadRequest when the task needs more than was sent; the pipelines themselves fail at that in many ways.
    """
    task = str(getattr(pipeline, "task", ""))
    found = dict(parameters)
    several = inputs if isinstance(inputs, list) else [inputs]
    for part in _PARTS.get(task, ()):
        if part not in found and not all(isinstance(x, dict) and x.get(part) for x in several):
            wanted = ", ".join(f'"{name}": ...' for name in _PARTS[task])
            raise BadRequest(
                f'inputs: {task} needs {part!r} in each input: send {{"inputs": {{{wanted}}}}}'
            )
    if task.startswith(_LABELLED) and not all(
        isinstance(x, dict) and _LABELS in x for x in several
    ):
        found.setdefault(_LABELS, _own_labels(pipeline, task))
        if not _are_labels(found[_LABELS]):
            raise BadRequest(
                f"parameters: {task} needs {_LABELS!r}, a list of texts: send "
                f'"parameters": {{"{_LABELS}": ["sport", "politics"]}}, or have the model\'s config.json name them '
                f'under "task_specific_params": {{"{task}": ...}}'
            )
    return found


def _own_labels(pipeline: Any, task: str) -> Any:
    named = getattr(pipeline.model.config, "task_specific_params", None) or {}
    return (named.get(task) or {}).get(_LABELS)


def _are_labels(value: Any) -> bool:
    labels = value.split(",") if isinstance(value, str) else value
    return (
        isinstance(labels, list)
        and bool(labels)
        and all(isinstance(label, str) and label.strip() for label in labels)
    )


def refusal(error: Exception, pipeline: Any, inputs: Any) -> BadRequest | None:
    """Return what a caller did wrong when a pipeline raised; None when it was not the caller."""
    unknown = _UNKNOWN.search(str(error)) if isinstance(error, TypeError) else None
    if unknown is not None and "_sanitize_parameters" in str(error):
        return BadRequest(f"parameters: {unknown[1]!r} is none of this task's")
    if type(error).__name__ == "PipelineException":
        return BadRequest(str(error).partition("\n")[0])
    if getattr(pipeline, "task", "") not in _TEXT_TASKS:
        return None
    texts = inputs if isinstance(inputs, list) else [inputs]
    if not texts or not all(isinstance(text, str | dict) for text in texts):
        return BadRequest("inputs: expected a text, or a list of texts")
    return _too_long(pipeline, [text for text in texts if isinstance(text, str)])


def _too_long(pipeline: Any, texts: list[str]) -> BadRequest | None:
    positions = getattr(pipeline.model.config, "max_position_embeddings", None)
    most = min(positions or 1 << 30, pipeline.tokenizer.model_max_length)
    longest = max((len(pipeline.tokenizer(text)["input_ids"]) for text in texts), default=0)
    if longest <= most:
        return None
    return BadRequest(
        f"inputs: a text has {longest} tokens, and this model takes {most}: "
        'shorten it, or send "parameters": {"truncation": true, "max_length": ...}'
    )


def _config(model_dir: Path) -> Mapping[str, Any]:
    try:
        found = json.loads((model_dir / "config.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _task(model_dir: Path) -> str:
    config = _config(model_dir)
    named = os.environ.get(TASK_ENV) or config.get("pipeline_tag")
    if named:
        return str(named)
    classes = config.get("architectures") or [""]
    ends = [end for end in _TASKS if str(classes[0]).endswith(end)]
    if not ends:
        raise HandlerInvalid(
            f"the handler has no model_fn, and config.json tells no task (architectures: {classes[0]!r}): "
            f"write model_fn, or set {TASK_ENV}"
        )
    return _TASKS[max(ends, key=len)]


def _transformers() -> Any:
    try:
        importlib.import_module("torch")
        return importlib.import_module("transformers")
    except ModuleNotFoundError as error:
        raise HandlerInvalid(
            f"the handler has no model_fn, and the pipeline in its place needs {error.name}: "
            "name transformers and torch in the requirements"
        ) from error


def _model(model_dir: Path, task: str, classes: Any) -> Any:
    if not any(model_dir.glob("*.safetensors")):
        raise HandlerInvalid(
            f"{model_dir} holds no .safetensors, and other weights are pickled: save the model with "
            "save_pretrained(folder), or write model_fn"
        )
    for kind in classes:
        try:
            model, told = kind.from_pretrained(
                model_dir, use_safetensors=True, output_loading_info=True, **_LOCAL
            )
        except ValueError as error:
            if "Unrecognized configuration class" not in str(error):
                raise HandlerInvalid(f"{model_dir}: {str(error).partition(chr(10))[0]}") from error
            continue
        _check_weights(task, told)
        return model
    raise HandlerInvalid(f"the model of {model_dir} is not one for {task!r}: set {TASK_ENV}")


def _check_weights(task: str, told: Mapping[str, Any]) -> None:
    # A feature is the last hidden state; what pools it is not asked.
    missing = sorted(
        key
        for key in told.get("missing_keys", ())
        if task != "feature-extraction" or ".pooler." not in f".{key}"
    )
    if missing:
        raise HandlerInvalid(
            f"the weights lack {', '.join(missing[:3])}, so this model was not trained for {task!r}: "
            f"set {TASK_ENV}, or write model_fn"
        )


def _processors(transformers: Any, model_dir: Path) -> dict[str, Any]:
    """Return tokenizer and preprocessor, each where the folder has one."""
    found: dict[str, Any] = {}
    if any(model_dir.glob("tokenizer*")) or any(model_dir.glob("vocab*")):
        found["tokenizer"] = transformers.AutoTokenizer.from_pretrained(model_dir, **_LOCAL)
    try:
        settings = json.loads((model_dir / "preprocessor_config.json").read_bytes())
    except (OSError, ValueError):
        return found
    if "image_mean" in settings or "image_processor_type" in settings:
        kind = transformers.AutoImageProcessor
        found["image_processor"] = kind.from_pretrained(model_dir, **_LOCAL)
    else:
        kind = transformers.AutoFeatureExtractor
        found["feature_extractor"] = kind.from_pretrained(model_dir, **_LOCAL)
    return found
