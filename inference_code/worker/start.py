"""From names and the environment to a worker that runs."""

from __future__ import annotations

from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError

from inference_code.engine.settings import Settings
from inference_code.errors import StartupError
from inference_code.worker import run
from inference_code.worker.queue import Queue
from inference_code.worker.results import ReplyQueue, Results, S3Results

WAIT_S = 10
"""How long one call waits for messages, so that an idle worker costs little; at most half of the drain."""


def start(settings: Settings, queue: str, results: str, replies: str) -> int:
    """Work on ``queue``; answers go to ``results`` (s3://bucket/prefix) or to the queue ``replies``.

    Region and credentials are found as the AWS CLI finds them; on EC2 the instance's role. Raises StartupError.
    """
    if not queue:
        raise StartupError("no queue is named: --queue or DEPLOYER_QUEUE, a name or a URL")
    if bool(results) == bool(replies):
        raise StartupError(
            "answers go to one place: --results (or DEPLOYER_RESULTS) s3://bucket/prefix, or --replies QUEUE"
        )
    config = Config(
        connect_timeout=5,
        read_timeout=WAIT_S + 20,
        retries={"mode": "standard", "max_attempts": 5},
        max_pool_connections=run.THREADS,
    )
    try:
        sqs: Any = boto3.client("sqs", config=config)
        sink: Results
        sink = (
            S3Results(boto3.client("s3", config=config), results)
            if results
            else ReplyQueue(sqs, replies)
        )
    except (BotoCoreError, ValueError) as error:
        raise StartupError(f"AWS cannot be called: {error}") from error
    wait_s = max(1, min(WAIT_S, int(settings.serving.drain_s / 2)))
    return run.work(settings, Queue(sqs, queue, wait_s), sink)
