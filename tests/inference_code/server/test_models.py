"""SageMaker's multi-model contract."""

import contextlib
import http.client
import json
import os
import resource
import threading
import time
from pathlib import Path

import psutil
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


def test_a_model_unloaded_while_it_loads_is_answered_and_can_be_loaded_again(server, tmp_path):
    slow = tmp_path / "model" / "code" / "inference.py"
    text = slow.read_text()
    slow.write_text(f"import time\ntime.sleep(3)\n{text}")
    answers = []
    loading = threading.Thread(target=lambda: answers.append(load(server)))
    loading.start()
    while not answers and not server.ask("GET", "/models").json()["models"]:
        time.sleep(0.01)
    assert server.ask("DELETE", "/models/m%2F1").status == 200
    loading.join(20)
    assert answers[0].status == 500
    assert "unloaded" in answers[0].json()["message"]
    slow.write_text(text)
    assert load(server).status == 200


def test_a_model_for_which_there_are_no_descriptors_is_refused_and_the_server_lives_on(server):
    front = psutil.Process(server.process.pid)
    before = front.rlimit(resource.RLIMIT_NOFILE)
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.connect()
    server.ask("GET", "/ping")  # the server has taken the connection before this one

    def ask(method, path, body=None):
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())

    order = json.dumps({"model_name": "m", "url": server.url}).encode()
    statuses = []
    for spare in (0, 1, 2, 4, 8, 16, 32):
        taken = {int(path.name) for path in Path(f"/proc/{front.pid}/fd").iterdir()}
        free = next(number for number in range(10_000) if number not in taken)
        front.rlimit(resource.RLIMIT_NOFILE, (free + spare, before[1]))
        statuses.append(ask("POST", "/models", order)[0])
        if statuses[-1] == 200:
            break
        assert ask("GET", "/models") == (200, {"models": []})
    front.rlimit(resource.RLIMIT_NOFILE, before)
    assert statuses[0] == 507
    assert set(statuses[1:-1]) <= {500, 507}
    assert statuses[-1] == 200
    connection.close()


def test_unloaded_models_leave_no_descriptors(server):
    def arenas():
        found = 0
        for path in Path(f"/proc/{server.process.pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # a connection that has just closed
                found += "memfd:bodies" in os.readlink(path)
        return found

    before = arenas()
    for _ in range(2):
        assert load(server).status == 200
        assert arenas() > before
        assert server.ask("DELETE", "/models/m%2F1").status == 200
        assert arenas() == before
