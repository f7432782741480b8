"""What SageMaker does with a call before and after the container: names, limits, headers, errors.

Limits and patterns are those of botocore's service model of ``sagemaker-runtime`` (2017-05-13). The texts of
errors are ours where AWS does not publish them; codes, statuses and members are AWS's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deployer.spec import limits
from inference_code.contract import CUSTOM_ATTRIBUTES_HEADER

MAX_BODY_BYTES = limits.REALTIME_BYTES
MAX_ASYNC_BODY_BYTES = 128_000
TIMEOUT_S = limits.ENDPOINT_ANSWER_S
ASYNC_TIMEOUT_S = int(limits.ASYNC_ANSWER_S)
ASYNC_TTL_S = int(limits.ASYNC_WAIT_S)
VARIANT = "AllTraffic"
PREFIX = "X-Amzn-SageMaker-"
ACCOUNT = "000000000000"
"""Named in error messages, where AWS names the caller's account."""

_MESSAGE_CHARACTERS = 2048
_NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9])*")
_TEXT = re.compile(r"[\x00-\x7f]*")
_VISIBLE = re.compile(r"\S[\x20-\x7e]*")


@dataclass(frozen=True)
class Limit:
    """How long the value of a header may be, in characters, and what it must look like."""

    member: str
    longest: int
    pattern: re.Pattern[str] = _TEXT
    shortest: int = 0


HEADERS: Mapping[str, Limit] = {
    "Content-Type": Limit("contentType", 1024),
    "Accept": Limit("accept", 1024),
    CUSTOM_ATTRIBUTES_HEADER: Limit("customAttributes", 1024),
    f"{PREFIX}Target-Model": Limit("targetModel", 1024, _VISIBLE, 1),
    f"{PREFIX}Target-Variant": Limit("targetVariant", 63, _NAME),
    f"{PREFIX}Target-Container-Hostname": Limit("targetContainerHostname", 63, _NAME),
    f"{PREFIX}Inference-Id": Limit("inferenceId", 64, _VISIBLE, 1),
    f"{PREFIX}Enable-Explanations": Limit("enableExplanations", 64, shortest=1),
    f"{PREFIX}Inference-Component": Limit("inferenceComponentName", 63, _NAME),
    f"{PREFIX}Session-Id": Limit("sessionId", 256),
    f"{PREFIX}Prefix-Aware-Id": Limit("prefixAwareId", 64, _VISIBLE, 1),
}
"""All that reaches the container; every other header is taken off."""

ANSWER_HEADERS = (
    CUSTOM_ATTRIBUTES_HEADER,
    f"{PREFIX}New-Session-Id",
    f"{PREFIX}Closed-Session-Id",
)
"""What, beside body and content type, reaches the caller."""

_NOT_HERE = {
    f"{PREFIX}Target-Model": "is not a multi-model endpoint, so it takes no TargetModel",
    f"{PREFIX}Target-Container-Hostname": "has one container, so it takes no TargetContainerHostname",
    f"{PREFIX}Inference-Component": "has no inference components",
    f"{PREFIX}Enable-Explanations": "has no explainer",
}


class Refusal(Exception):
    """An error as AWS answers it: status, code, and the members of its body."""

    def __init__(self, status: int, code: str, message: str, **members: Any) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.content = json.dumps({"Message": message, "message": message, **members}).encode()


def invalid(message: str) -> Refusal:
    """Return a ValidationError."""
    return Refusal(400, "ValidationError", message)


def check_endpoint(asked: str, name: str) -> None:
    """Raise a ValidationError unless ``asked`` is the endpoint that is served."""
    if len(asked) > 63 or not _NAME.fullmatch(asked):
        raise violated("endpointName", asked, "Member must satisfy a pattern and 63 characters")
    if asked != name:
        raise invalid(f"Endpoint {asked} of account {ACCOUNT} not found.")


def forwarded(headers: Mapping[str, str], name: str) -> dict[str, str]:
    """Return the headers of a call that reach the container of endpoint ``name``.

    Raises a ValidationError for a value out of bounds, or one that asks for what one bundle does not have.
    """
    passed: dict[str, str] = {}
    for header, limit in HEADERS.items():
        value = headers.get(header)
        if value is None:
            continue
        check(limit, value)
        if header in _NOT_HERE:
            raise invalid(f"Endpoint {name} {_NOT_HERE[header]}.")
        passed[header] = value
    variant = passed.get(f"{PREFIX}Target-Variant", VARIANT)
    if variant != VARIANT:
        raise invalid(f"Variant {variant} of endpoint {name} not found; there is {VARIANT}.")
    return passed


def check(limit: Limit, value: str) -> None:
    """Raise a ValidationError for a value that is too long, too short or of the wrong form."""
    if len(value) > limit.longest:
        raise violated(
            limit.member, value, f"Member must have length less than or equal to {limit.longest}"
        )
    if len(value) < limit.shortest:
        raise violated(
            limit.member,
            value,
            f"Member must have length greater than or equal to {limit.shortest}",
        )
    if not limit.pattern.fullmatch(value):
        raise violated(
            limit.member,
            value,
            f"Member must satisfy regular expression pattern: {limit.pattern.pattern}",
        )


def violated(member: str, value: str, constraint: str) -> Refusal:
    """Return the ValidationError of a constraint of the service model."""
    return invalid(
        f"1 validation error detected: Value '{value[:200]}' at '{member}' failed to satisfy "
        f"constraint: {constraint}"
    )


def check_length(length: int) -> None:
    """Raise what AWS's front answers to a body that is too long: a bare 413."""
    if length > MAX_BODY_BYTES:
        raise Refusal(413, "", f"HTTP content length exceeded {MAX_BODY_BYTES} bytes.")


def model_error(status: int, body: bytes) -> Refusal:
    """Return the ModelError for a container's answer that is no success."""
    original = body.decode("utf-8", "replace")[:_MESSAGE_CHARACTERS]
    kind = "client" if 400 <= status < 500 else "server"
    message = f'Received {kind} error ({status}) from primary with message "{original}".'
    return _model_error(message, status, original)


def no_answer(reason: str) -> Refusal:
    """Return the ModelError for a container that did not answer; ``reason`` is told as its message."""
    message = f'Received server error (0) from primary with message "{reason}".'
    return _model_error(message, 0, reason)


def too_long_answer(size: int) -> Refusal:
    """Return the ModelError for an answer that SageMaker would not carry."""
    return no_answer(
        f"the answer has {size} bytes, more than the {MAX_BODY_BYTES} that are carried"
    )


def _model_error(message: str, status: int, original: str) -> Refusal:
    return Refusal(
        424,
        "ModelError",
        message[:_MESSAGE_CHARACTERS],
        OriginalStatusCode=status,
        OriginalMessage=original,
        LogStreamArn="",
    )


def whole_number(member: str, text: str | None, default: int, least: int, most: int) -> int:
    """Return a header's number within its bounds, or the default when there is none."""
    if text is None:
        return default
    if not re.fullmatch(r"\d{1,9}", text) or not least <= int(text) <= most:
        raise violated(member, text, f"Member must be a whole number from {least} to {most}")
    return int(text)
