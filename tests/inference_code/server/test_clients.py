import threading
import time

import pytest

from inference_code.errors import TooManyRequests
from inference_code.server.clients import ClientLimit, client_of

SLOW = """
    import time
    from inference_code.handler import Handler as Base
    class Handler(Base):
        batches = False
        def load(self, context): pass
        def predict(self, items):
            time.sleep(items[0])
            return items
"""


def test_a_client_may_have_so_many_and_no_more():
    limit = ClientLimit(2)
    seats = [limit.enter(b"a"), limit.enter(b"a")]
    with pytest.raises(TooManyRequests, match="2 requests in flight"):
        limit.enter(b"a")
    limit.enter(b"b")
    seats[0].leave()
    seats[0].leave()
    limit.enter(b"a")
    with pytest.raises(TooManyRequests):
        limit.enter(b"a")


def test_a_client_without_requests_is_forgotten():
    limit = ClientLimit(1)
    limit.enter(b"a").leave()
    assert len(limit) == 0


def test_only_the_last_forwarded_address_is_believed():
    assert client_of({b"x-forwarded-for": b"1.1.1.1, 2.2.2.2"}, b"3.3.3.3") == b"2.2.2.2"
    assert client_of({}, b"3.3.3.3") == b"3.3.3.3"


@pytest.mark.serve
def test_a_greedy_client_gets_429_and_others_are_served(start, model_dir):
    server = start(model_dir(SLOW), "--client-limit", "1").wait_until_ready()
    first = threading.Thread(target=server.invoke, args=(0.8,))
    first.start()
    time.sleep(0.3)
    refused = server.invoke(0.0)
    other = server.invoke(0.0, X_Forwarded_For="10.1.2.3")
    first.join()
    assert (refused.status, refused.headers["retry-after"]) == (429, "1")
    assert other.status == 200
    assert server.invoke(0.0).status == 200
