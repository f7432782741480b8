"""SageMaker's multi-model contract."""

import json

import pytest

pytestmark = pytest.mark.serve


@pytest.fixture
def server(start, model_dir, monkeypatch):
    folder = model_dir()
    monkeypatch.setenv("SAGEMAKER_MULTI_MODEL", "true")
    monkeypatch.setenv("INFERENCE_MODELS_ROOT", str(folder.parent))
    server = start(folder.parent).wait_until_ready()
    server.url = str(folder)
    return server


def load(server, name="m/1", **changes):
    body = {"model_name": name, "url": server.url, **changes}
    return server.ask("POST", "/models", json.dumps(body).encode())


def test_a_model_is_loaded_listed_asked_and_unloaded(server):
    assert load(server).status == 200
    assert server.ask("GET", "/models").json() == {
        "models": [{"modelName": "m/1", "modelUrl": server.url}]
    }
    assert server.ask("GET", "/models/m%2F1").json()["modelName"] == "m/1"
    assert server.ask("POST", "/models/m%2F1/invoke", b'{"x": 4}').json()["answer"] == 8
    assert (
        'inference_batch_size_count{model="m/1"} 1' in server.ask("GET", "/metrics").body.decode()
    )
    assert load(server).status == 409
    assert server.ask("DELETE", "/models/m%2F1").status == 200
    assert server.ask("POST", "/models/m%2F1/invoke", b'{"x": 4}').status == 404
    assert server.ask("GET", "/models").json() == {"models": []}


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_a_model_that_is_not_loaded_is_404(server, method):
    assert server.ask(method, "/models/none").status == 404


def test_a_url_outside_the_models_folder_is_refused(server):
    for url in ("/etc", server.url + "/../../..", "file:///etc/passwd", "https://example.com/m"):
        assert load(server, url=url).status == 400


def test_a_wrong_load_request_is_400_and_a_wrong_method_405(server):
    assert server.ask("POST", "/models", b'{"model_name": 1}').status == 400
    assert server.ask("PUT", "/models/a", b"").status == 405
    assert server.ask("GET", "/models/a/b/c").status == 404


def test_a_model_too_large_for_memory_is_507(server, tmp_path):
    with (tmp_path / "model" / "weights.bin").open("wb") as file:
        file.truncate(10**12)
    assert load(server).status == 507


def test_starts_though_no_model_is_mounted(start, model_dir, monkeypatch):
    folder = model_dir()
    monkeypatch.setenv("SAGEMAKER_MULTI_MODEL", "true")
    monkeypatch.setenv("INFERENCE_MODELS_ROOT", str(folder.parent))
    server = start(folder.parent / "not-mounted").wait_until_ready()
    server.url = str(folder)
    assert load(server).status == 200
    assert load(server, name="gone", url=str(folder.parent / "gone")).status == 400
