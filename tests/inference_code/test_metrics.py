from hypothesis import given
from hypothesis import strategies as st

from inference_code.metrics import Counter, Gauge, Histogram, prometheus, prometheus_by


def test_a_counter_with_a_label_has_a_line_per_value():
    counter = Counter("requests_total", "Requests.", "code")
    counter.add(2, 200)
    counter.add(1, 'odd"\n')
    assert prometheus([counter]) == (
        "# HELP requests_total Requests.\n"
        "# TYPE requests_total counter\n"
        'requests_total{code="200"} 2\n'
        'requests_total{code="odd\\"\\n"} 1\n'
    )


def test_a_gauge_is_read_when_asked():
    values = {"": 1.0}
    gauge = Gauge("depth", "Depth.", lambda: values)
    values[""] = 2.5
    assert prometheus([gauge]).endswith("depth 2.5\n")


@given(st.lists(st.floats(0, 100)))
def test_histogram_buckets_are_cumulative_and_end_with_the_count(values):
    histogram = Histogram("t", "T.", (1.0, 10.0))
    for value in values:
        histogram.observe(value)
    lines = prometheus([histogram]).splitlines()[2:]
    assert lines[0] == f't_bucket{{le="1"}} {sum(v <= 1 for v in values)}'
    assert lines[1] == f't_bucket{{le="10"}} {sum(v <= 10 for v in values)}'
    assert lines[2] == f't_bucket{{le="+Inf"}} {len(values)}'
    assert lines[4] == f"t_count {len(values)}"


def test_a_quantile_is_the_bound_of_its_bucket():
    histogram = Histogram("t", "T.", (1.0, 10.0))
    assert histogram.quantile(0.5) is None
    for value in (0.5, 0.6, 5.0, 50.0):
        histogram.observe(value)
    assert histogram.quantile(0.5) == 1.0
    assert histogram.quantile(0.75) == 10.0
    assert histogram.quantile(0.99) is None


def test_models_share_a_metrics_head_and_differ_by_label():
    one, two = Counter("n_total", "N.", "code"), Counter("n_total", "N.", "code")
    plain = [Gauge("up", "Up.", lambda: {"": 1.0}) for _ in range(2)]
    one.add(2, 200)
    text = prometheus_by("model", {"a": (one, plain[0]), 'b"': (two, plain[1])})
    assert text.splitlines() == [
        "# HELP n_total N.",
        "# TYPE n_total counter",
        'n_total{model="a",code="200"} 2',
        "# HELP up Up.",
        "# TYPE up gauge",
        'up{model="a"} 1',
        'up{model="b\\""} 1',
    ]


def test_no_model_has_no_metrics():
    assert prometheus_by("model", {}) == ""
