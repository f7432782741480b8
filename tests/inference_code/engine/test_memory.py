from inference_code.engine.memory import SETTLE_S, WARN_BYTES, MemoryWatch

MB = 2**20


def test_the_first_minute_is_no_growth():
    watch = MemoryWatch()
    assert watch.look({"front": 10 * MB}, 0.0) == {}
    assert watch.look({"front": 900 * MB}, SETTLE_S - 1) == {}
    assert watch.growth == {}


def test_growth_is_told_once_per_step():
    watch = MemoryWatch()
    for now in (0.0, SETTLE_S):
        watch.look({"worker 1": 100 * MB}, now)
    assert watch.look({"worker 1": 110 * MB}, 70.0) == {}
    assert watch.growth == {"worker 1": 10 * MB}
    grown = WARN_BYTES + 1
    assert watch.look({"worker 1": 100 * MB + grown}, 80.0) == {"worker 1": grown}
    assert watch.look({"worker 1": 100 * MB + grown}, 90.0) == {}
    assert watch.look({"worker 1": 100 * MB + 2 * grown}, 99.0) == {"worker 1": 2 * grown}


def test_a_process_that_is_gone_is_forgotten():
    watch = MemoryWatch()
    for now in (0.0, SETTLE_S):
        watch.look({"worker 1": 100 * MB}, now)
    watch.look({"worker 2": 100 * MB}, 70.0)
    assert watch.growth == {}
