"""Headers that reach the handler, and the one that reaches the queue."""

import threading
import time

import pytest

pytestmark = pytest.mark.serve

TELLS_HEADERS = """
    def model_fn(model_dir): return None
    def input_fn(data, content_type, context): return context.get_all_request_header(0)
    def predict_fn(data, model): return data
"""
COUNTS = """
    import itertools, time
    from inference_code.handler import Handler as Base
    class Handler(Base):
        batches = False
        def load(self, context): self.turn = itertools.count()
        def predict(self, items):
            time.sleep(items[0])
            return [next(self.turn) for _ in items]
"""


def test_sagemakers_functions_see_the_headers_of_the_request(start, model_dir):
    server = start(model_dir(TELLS_HEADERS)).wait_until_ready()
    name = "X-Amzn-SageMaker-Custom-Attributes"
    seen = server.invoke({}, **{name: "tenant=7;plan=b"}).json()
    assert seen[name.lower()] == "tenant=7;plan=b"
    assert seen["content-type"] == "application/json"
    assert name.lower() not in server.invoke({}).json()


def test_the_priority_header_lets_an_urgent_request_pass_others(start, model_dir):
    server = start(model_dir(COUNTS)).wait_until_ready()
    turns = {}

    def ask(name, seconds, **headers):
        turns[name] = server.invoke(seconds, **headers).json()

    threads = [
        threading.Thread(target=ask, args=("first", 0.6)),
        threading.Thread(target=ask, args=("later", 0.0), kwargs={"Priority": "u=7, i"}),
        threading.Thread(target=ask, args=("usual", 0.0), kwargs={"Priority": "high"}),
        threading.Thread(target=ask, args=("urgent", 0.0), kwargs={"Priority": "u=0"}),
    ]
    for thread in threads:
        thread.start()
        time.sleep(0.1)
    for thread in threads:
        thread.join()
    assert sorted(turns, key=turns.__getitem__) == ["first", "urgent", "usual", "later"]
