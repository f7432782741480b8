"""A sentence encoder from its folder through the ladder: what MiniLM does in the benchmark, in a few seconds."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import deployer
from deployer.errors import InputError, NotSupported
from deployer.optimization import huggingface, prune
from deployer.optimization.export import export
from deployer.optimization.session import Session

transformers: Any = pytest.importorskip("transformers")
save_file = pytest.importorskip("safetensors.torch").save_file
pytestmark = pytest.mark.optimize

WORDS, WIDTH = 800, 64


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of two layers with mean pooling, as sentence-transformers saves it.

    One inner channel of each layer is two thousand times as large as the rest, as in trained transformers.
    """
    path = tmp_path_factory.mktemp("encoder")
    config = transformers.BertConfig(
        vocab_size=WORDS,
        hidden_size=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=4 * WIDTH,
        max_position_embeddings=64,
        initializer_range=0.1,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = transformers.BertModel(config, add_pooling_layer=False)
    with torch.no_grad():
        for layer in model.encoder.layer:
            layer.intermediate.dense.bias[0] = 2000
            layer.output.dense.weight[:, 0] /= 2000
    model.save_pretrained(path)
    modules = [{"type": f"sentence_transformers.models.{m}"} for m in ("Pooling", "Normalize")]
    (path / "modules.json").write_text(json.dumps(modules))
    (path / "1_Pooling").mkdir()
    (path / "1_Pooling/config.json").write_text(json.dumps({"pooling_mode_mean_tokens": True}))
    return path


def texts(rows: int, length: int, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    mask = (np.arange(length) < rng.integers(3, length + 1, (rows, 1))).astype(np.int64)
    return {"input_ids": rng.integers(5, WORDS, (rows, length)) * mask, "attention_mask": mask}


def test_folder_climbs_and_equalised_int8_is_right_where_plain_int8_is_not(
    folder: Path, tmp_path: Path
) -> None:
    rungs = ["int8-static-minmax", "int8-equalized-static", "int8-int4-tables"]
    report = deployer.optimize(
        folder,
        calibration=texts(32, 24, 1),
        evaluation=texts(60, 24, 2),
        metric="cosine",
        max_drop=0.005,
        rungs=rungs,
        out=tmp_path / "out",
    )
    found = {rung.name: rung for rung in report.rungs}
    plain, even, tables = (found[name] for name in rungs)
    assert not plain.accuracy.passed
    assert even.accuracy.passed
    assert even.variant.size_bytes < 0.45 * report.fp32.size_bytes
    assert tables.variant.size_bytes < even.variant.size_bytes
    fp32, int8 = (Session(v.path) for v in (report.fp32, even.variant))
    for rows, length in ((1, 5), (7, 32), (3, 48)):  # lengths stay free
        feeds = texts(rows, length, 3)
        wanted, given = fp32.run(feeds), int8.run(feeds)
        assert np.linalg.norm(wanted, axis=1) == pytest.approx(1, abs=1e-5)
        assert (wanted * given).sum(1).mean() > 0.99
    together, alone = (int8.outputs_for(texts(8, 32, 4), size) for size in (8, 1))
    assert (together * alone).sum(1).min() > 0.9999  # fixed scales: batchmates do not matter


def test_pruning_a_folder_takes_heads(folder: Path) -> None:
    model = huggingface.load(folder)
    small = prune.prune(model, texts(4, 9, 5), remove=0.5)
    attention = small.model.encoder.layer[0].attention
    assert attention.self.query.weight.shape == (WIDTH // 2, WIDTH)
    assert attention.output.dense.weight.shape == (WIDTH, WIDTH // 2)


def test_weights_in_a_pickle_are_not_read(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    torch.save(huggingface.load(folder).state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(InputError, match="no safetensors weights"):
        huggingface.load(tmp_path)


def test_weights_that_the_folder_lacks_would_be_random_and_are_named(
    folder: Path, tmp_path: Path
) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["architectures"] = ["BertForSequenceClassification"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    shutil.copy(folder / "model.safetensors", tmp_path)
    with pytest.raises(InputError, match=r"lacks .* classifier\.bias"):
        huggingface.load(tmp_path)


def test_weights_cut_short_are_named(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    whole = (folder / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="cannot be loaded: SafetensorError"):
        huggingface.load(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("config.json", None, "no Hugging Face folder: it has no config.json"),
        ("config.json", "{", "cannot read .*config.json"),
        ("config.json", "[]", "config.json holds no object"),
        ("config.json", '{"architectures": ["BertForNothing"]}', "has no 'BertForNothing'"),
        ("modules.json", "7", "modules.json holds no list"),
        ("1_Pooling/config.json", '{"pooling_mode": "lasttoken"}', "pooling by 'lasttoken' cannot"),
    ],
)
def test_what_is_wrong_in_a_folder_is_named(
    name: str, content: str | None, said: str, folder: Path, tmp_path: Path
) -> None:
    broken = shutil.copytree(folder, tmp_path / "broken")
    (broken / name).unlink()
    if content is not None:
        (broken / name).write_text(content)
    if name == "config.json":
        (broken / "modules.json").unlink()
    with pytest.raises(InputError, match=said):
        huggingface.load(broken)


def test_mask_is_made_in_two_steps_for_an_encoder_and_left_alone_for_a_decoder(
    folder: Path, tmp_path: Path
) -> None:
    encoder = huggingface.load(folder)
    assert encoder.light
    padded = {name: torch.from_numpy(value) for name, value in texts(6, 12, 7).items()}
    encoder.light = False
    plain = encoder(**padded)
    encoder.light = True
    torch.testing.assert_close(encoder(**padded), plain)
    config = transformers.GPT2Config(vocab_size=50, n_positions=16, n_embd=16, n_layer=1, n_head=2)
    transformers.GPT2LMHeadModel(config).save_pretrained(tmp_path)
    assert not huggingface.load(tmp_path).light


SMALL: dict[str, Any] = {
    "vocab_size": 50,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 32,
}


def few(names: tuple[str, ...]) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    mask = (np.arange(8) < rng.integers(3, 9, (4, 1))).astype(np.int64)
    types = (np.arange(8) > 2).astype(np.int64) * mask
    held = {"input_ids": rng.integers(5, 50, (4, 8)) * mask, "attention_mask": mask}
    return {
        name: value for name, value in (held | {"token_type_ids": types}).items() if name in names
    }


def exported(model: Any, arrays: dict[str, np.ndarray], folder: Path) -> dict[str, np.ndarray]:
    """Return what the export of a model answers, by name."""
    model.save_pretrained(folder / "saved")
    export(folder / "saved", arrays, folder / "m.onnx")
    session = Session(folder / "m.onnx")
    names = [spec.name for spec in session.outputs]
    return dict(zip(names, session.run_all(arrays, names), strict=True))


def own(model: Any, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return what transformers answers, by name."""
    with torch.no_grad():
        found = model.eval()(**{name: torch.from_numpy(value) for name, value in arrays.items()})
    return {name: value.numpy() for name, value in found.items() if isinstance(value, torch.Tensor)}


TEXT = ("input_ids", "attention_mask")
HEADS = {
    "GPT2LMHeadModel": (("logits",), TEXT),
    "BertLMHeadModel": (("logits",), TEXT),
    "BertForQuestionAnswering": (("start_logits", "end_logits"), (*TEXT, "token_type_ids")),
    "BertForSequenceClassification": (("logits",), (*TEXT, "token_type_ids")),
    "BertModel": (("last_hidden_state", "pooler_output"), TEXT),
}


@pytest.mark.parametrize("name", sorted(HEADS))
def test_architecture_decides_the_head_and_every_output_is_kept(name: str, tmp_path: Path) -> None:
    outputs, inputs = HEADS[name]
    torch.manual_seed(0)
    gpt = transformers.GPT2Config(vocab_size=50, n_positions=32, n_embd=16, n_layer=1, n_head=2)
    config = gpt if name.startswith("GPT") else transformers.BertConfig(**SMALL)
    model = getattr(transformers, name)(config)
    arrays = few(inputs)
    found, wanted = exported(model, arrays, tmp_path), own(model, arrays)
    assert tuple(found) == (outputs if len(outputs) > 1 else ("output",))
    for (_, given), key in zip(found.items(), outputs, strict=True):
        seen = arrays["attention_mask"] > 0 if given.shape[:2] == (4, 8) else slice(None)
        np.testing.assert_allclose(given[seen], wanted[key][seen], atol=1e-4)


def test_vision_model_takes_its_pictures(tmp_path: Path) -> None:
    size = {"image_size": 16, "patch_size": 8, "num_channels": 3}
    config = transformers.ViTConfig(
        **{k: v for k, v in SMALL.items() if "size" in k or "num" in k}, **size
    )
    model = transformers.ViTForImageClassification(config)
    arrays = {"pixel_values": np.random.default_rng(0).normal(size=(3, 3, 16, 16)).astype("f4")}
    found = exported(model, arrays, tmp_path)
    np.testing.assert_allclose(found["output"], own(model, arrays)["logits"], atol=1e-4)


def test_encoder_decoder_is_refused_by_name(tmp_path: Path) -> None:
    config = {"architectures": ["T5ForConditionalGeneration"], "is_encoder_decoder": True}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(NotSupported, match="T5ForConditionalGeneration is an encoder-decoder"):
        huggingface.load(tmp_path)


def test_inputs_that_the_model_does_not_take_are_named(folder: Path) -> None:
    with pytest.raises(InputError, match="BertModel is given pixel_values"):
        huggingface.load(folder, ["pixel_values"])


def test_sentence_transformers_chain_is_followed_to_its_end(folder: Path, tmp_path: Path) -> None:
    saved = shutil.copytree(folder, tmp_path / "saved")
    kinds = ("Transformer", "Pooling", "Dense", "Normalize")
    paths = ("", "1_Pooling", "2_Dense", "3_Normalize")
    listed = [
        {"idx": place, "path": path, "type": f"sentence_transformers.models.{kind}"}
        for place, (kind, path) in enumerate(zip(kinds, paths, strict=True))
    ]
    (saved / "modules.json").write_text(json.dumps(listed))
    flags = {f"pooling_mode_{name}": True for name in ("mean_tokens", "max_tokens", "cls_token")}
    (saved / "1_Pooling/config.json").write_text(json.dumps(flags))
    (saved / "2_Dense").mkdir()
    activation = {"activation_function": "torch.nn.modules.activation.Tanh"}
    (saved / "2_Dense/config.json").write_text(json.dumps(activation))
    rng = np.random.default_rng(1)
    weight = rng.normal(size=(8, 3 * WIDTH)).astype("f4") / 10
    bias = rng.normal(size=8).astype("f4")
    tensors = {"linear.weight": torch.from_numpy(weight), "linear.bias": torch.from_numpy(bias)}
    save_file(tensors, str(saved / "2_Dense/model.safetensors"))
    arrays = texts(4, 9, 3)
    export(saved, arrays, tmp_path / "m.onnx")
    given = Session(tmp_path / "m.onnx").run(arrays)
    base = transformers.BertModel.from_pretrained(str(folder), add_pooling_layer=False)
    hidden = own(base, arrays)["last_hidden_state"]
    rows = []
    for row, mask in zip(hidden, arrays["attention_mask"] > 0, strict=True):
        joined = np.concatenate([row[0], row[mask].max(0), row[mask].mean(0)])
        dense = np.tanh(weight @ joined + bias)
        rows.append(dense / np.linalg.norm(dense))
    np.testing.assert_allclose(given, np.array(rows), atol=1e-4)


def test_part_of_a_chain_that_is_not_known_is_named(folder: Path, tmp_path: Path) -> None:
    saved = shutil.copytree(folder, tmp_path / "saved")
    listed = [{"path": "1_LSTM", "type": "sentence_transformers.models.LSTM"}]
    (saved / "modules.json").write_text(json.dumps(listed))
    with pytest.raises(InputError, match="'LSTM' at '1_LSTM' cannot be exported"):
        huggingface.load(saved)
