"""Real workers against SQS and S3 over HTTP: killed, drained, slow, confused."""

import json
import os
import time

import pytest

pytestmark = [pytest.mark.serve]


def attribute(value):
    return {"DataType": "String", "StringValue": value}


def results(fake_queue, aws):
    s3 = aws.client("s3")
    rows = s3.list_objects_v2(Bucket=fake_queue.BUCKET, Prefix=fake_queue.PREFIX).get(
        "Contents", ()
    )
    return {
        row["Key"].removeprefix(fake_queue.PREFIX): json.loads(
            s3.get_object(Bucket=fake_queue.BUCKET, Key=row["Key"])["Body"].read()
        )
        for row in rows
    }


def wait(holds, within_s=60):
    end = time.monotonic() + within_s
    while not (found := holds()):
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.1)
    return found


def test_every_message_is_answered_once_though_workers_are_killed(fake_queue, tmp_path):
    plan = fake_queue.Plan(60, 2, 0.5, 1, visibility_s=3, max_receives=4, poison_every=20)
    if "DEPLOYER_ALL_FLEETS" in os.environ:  # some minutes
        plan = fake_queue.Plan(messages=5000, kill_every_s=5.0, limit_s=1200)
    outcome = fake_queue.run(plan, tmp_path)
    assert outcome.faultless, outcome
    assert outcome.kills >= 1
    assert outcome.sent == plan.messages
    assert outcome.duplicates_sent >= plan.messages / 12


SLOW = """
import time

from inference_code.handler import Handler as Base


class Handler(Base):
    batches = True

    def load(self, context):
        pass

    def predict(self, items):
        time.sleep(max(item.get("s", 0) for item in items))
        return [{"n": item["n"]} for item in items]
"""


@pytest.fixture
def slow_herd(fake_queue, aws, tmp_path, monkeypatch):
    monkeypatch.setattr(fake_queue, "HANDLER", SLOW)
    monkeypatch.setattr(fake_queue.model, "__defaults__", (SLOW,))
    url = aws.make(visibility_s=3, max_receives=4)
    herds = []

    def start(*arguments):
        herds.append(fake_queue.Herd(aws, tmp_path, 1, arguments))
        return herds[-1]

    yield url, start
    for herd in herds:
        for process in herd.processes:
            process.kill()
            process.wait()


def test_work_longer_than_the_visibility_is_extended_and_done_once(fake_queue, aws, slow_herd):
    url, start = slow_herd
    herd = start("--drain-s", "4")
    sqs = aws.client("sqs")
    sqs.send_message(QueueUrl=url, MessageBody='{"n": 1, "s": 5}')
    found = wait(lambda: results(fake_queue, aws))
    assert list(found.values()) == [{"n": 1}]
    assert herd.stop() == [0]
    assert '"answered":1' in herd.logs()
    assert "extended too late" not in herd.logs()
    assert '"known"' not in herd.logs()


def test_sigterm_finishes_what_is_begun_and_leaves_the_rest_to_others(fake_queue, aws, slow_herd):
    url, start = slow_herd
    herd = start("--max-batch", "1", "--drain-s", "6")
    sqs = aws.client("sqs")
    for n in range(2):
        sqs.send_message(QueueUrl=url, MessageBody=json.dumps({"n": n, "s": 1}))
    wait(lambda: results(fake_queue, aws))
    sqs.send_message(QueueUrl=url, MessageBody=json.dumps({"n": 2, "s": 60}))
    wait(lambda: len(results(fake_queue, aws)) == 2)
    time.sleep(0.5)
    begun = time.monotonic()
    assert herd.stop() == [0]
    assert 3 < time.monotonic() - begun < 15
    assert '"released":1' in herd.logs()
    again = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=2)["Messages"]
    assert json.loads(again[0]["Body"])["n"] == 2


def test_a_key_used_for_another_request_is_a_dead_letter(fake_queue, aws, slow_herd):
    url, start = slow_herd
    start()
    sqs = aws.client("sqs")
    key = {"Key": attribute("order-7")}
    sqs.send_message(QueueUrl=url, MessageBody='{"n": 1}', MessageAttributes=key)
    wait(lambda: results(fake_queue, aws))
    sqs.send_message(QueueUrl=url, MessageBody='{"n": 2}', MessageAttributes=key)
    dead = wait(lambda: fake_queue.dead_letters(sqs))
    assert dead == [("order-7", "the key 'order-7' was answered before, for another request")]
    assert results(fake_queue, aws) == {"order-7": {"n": 1}}


def test_answers_may_go_to_a_queue(fake_queue, aws, slow_herd):
    url, start = slow_herd
    sqs = aws.client("sqs")
    replies = sqs.create_queue(QueueName="replies")["QueueUrl"]
    start("--results", "", "--replies", "replies")
    sqs.send_message(
        QueueUrl=url, MessageBody='{"n": 5}', MessageAttributes={"Key": attribute("five")}
    )
    found = sqs.receive_message(
        QueueUrl=replies, WaitTimeSeconds=20, MessageAttributeNames=["All"]
    )["Messages"][0]
    assert json.loads(found["Body"]) == {"n": 5}
    assert found["MessageAttributes"]["Key"]["StringValue"] == "five"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--queue", "other"), "queue 'other' cannot be used"),
        (("--results", "answers"), "write it like s3://bucket/prefix"),
        (("--replies", "x", "--results", "s3://b/p"), "answers go to one place"),
        (("--queue", "work-dead"), "has no dead-letter queue"),
    ],
)
def test_what_cannot_work_is_told_at_the_start(aws, slow_herd, arguments, words):
    _, start = slow_herd
    herd = start(*arguments)
    assert herd.processes[0].wait(30) == 2
    assert words in herd.logs()
