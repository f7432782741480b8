import json
import socket

import pytest

pytestmark = pytest.mark.serve


def test_check_runs_each_sample(command, model_dir):
    folder = model_dir(samples={"a.json": b'{"x": 4}', "b.json": b'{"x": 5}'})
    result = command("check", "--model-dir", str(folder))
    answer = json.loads(result.stdout)
    assert result.returncode == 0
    assert answer["ok"] is True
    assert [json.loads(a["body"])["answer"] for a in answer["answers"]] == [8, 10]


def test_check_tells_which_sample_fails(command, model_dir):
    result = command("check", "--model-dir", str(model_dir(samples={"bad.json": b"{}"})))
    assert result.returncode == 1
    assert "sample bad.json is answered 500" in json.loads(result.stdout)["problems"][0]


def test_bench_prints_what_a_profile_needs(command, model_dir):
    folder = model_dir(samples={"a.json": b'{"x": 4}'})
    result = command(
        "bench", "--model-dir", str(folder), "--batch-sizes", "2,4", "--seconds", "0.01"
    )
    answer = json.loads(result.stdout)
    assert set(answer["service_time_ms"]) == {"1", "2", "4", "8"}
    law = answer["service_time_ms"]["1"]
    assert law["quantiles"][0][0] == 0
    assert law["quantiles"][-1][0] == 1
    assert law["quantiles"][0][1] <= law["mean"] <= law["quantiles"][-1][1]
    assert answer["request_bytes"] == 8
    assert answer["memory_mb"] > 5
    assert 0 < answer["startup_s"] < 60
    assert answer["hardware"]["cores"].isdigit()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model-dir", "/nowhere"], "model folder '/nowhere' does not exist"),
        (["--workers", "0"], "serving.workers must be at least 1"),
        (["--port", "70000"], "cannot listen on"),
    ],
)
def test_what_cannot_be_served_is_one_line_and_exit_2(command, model_dir, arguments, message):
    result = command("serve", "--model-dir", str(model_dir()), "--host", "127.0.0.1", *arguments)
    assert result.returncode == 2
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_a_port_in_use_is_one_line_and_exit_2(command, model_dir):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = command(
            "serve", "--model-dir", str(model_dir()), "--host", "127.0.0.1", "--port", port
        )
    assert result.returncode == 2
    assert result.stderr.startswith(
        f"error: cannot listen on 127.0.0.1:{port}: Address already in use"
    )


def test_a_bad_handler_is_told_and_exit_2(command, model_dir):
    folder = model_dir("def predict_fn(d, m): return d")
    result = command("serve", "--model-dir", str(folder), "--host", "127.0.0.1", "--port", "0")
    assert result.returncode == 2
    assert "error: the handler has no model_fn: add" in result.stderr.splitlines()[-1]


def test_a_manifest_with_an_unknown_key_names_it(command, model_dir):
    folder = model_dir()
    (folder / "code" / "manifest.json").write_text(
        json.dumps({"contract_version": 1, "name": "n", "model": "m", "precision": "fp32",
                    "members": [], "wrkers": 3})
    )  # fmt: skip
    result = command("check", "--model-dir", str(folder))
    assert result.returncode == 2
    assert "'wrkers'" in result.stderr


def test_a_model_that_kills_its_process_at_start_is_given_up(command, model_dir):
    folder = model_dir(
        "import os\ndef model_fn(d): os.kill(os.getpid(), 9)\ndef predict_fn(d, m): return d"
    )
    result = command("serve", "--model-dir", str(folder), "--host", "127.0.0.1", "--port", "0")
    assert result.returncode == 2
    assert "error: the model's process died: killed by signal 9" in result.stderr


def test_sagemakers_own_variables_are_read_and_checked(command, model_dir, monkeypatch):
    monkeypatch.setenv("SAGEMAKER_MODEL_SERVER_WORKERS", "3")
    folder = model_dir(samples={"a.json": b'{"x": 4}'})
    bench = command("bench", "--model-dir", str(folder), "--seconds", "0.01")
    assert json.loads(bench.stdout)["workers"] == 3
    monkeypatch.setenv("SAGEMAKER_MODEL_SERVER_WORKERS", "many")
    result = command("serve", "--model-dir", str(folder))
    assert result.returncode == 2
    assert result.stderr == "error: SAGEMAKER_MODEL_SERVER_WORKERS is 'many', not a whole number\n"
