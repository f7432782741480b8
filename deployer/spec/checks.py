"""Checks shared by the specification's values; each raises SpecError naming the key."""

from __future__ import annotations

import math
import re

from deployer.errors import SpecError

REGIONS = ("us-east-1", "us-west-2", "eu-west-1")
_INSTANCE = re.compile(
    r"[a-z][a-z0-9-]*\.(nano|micro|small|medium|large|[0-9]*xlarge|metal[a-z0-9-]*)"
)
_NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,40}")


def at_least(key: str, value: float, low: float) -> None:
    """Refuse a number below ``low``, or one that is not finite."""
    if not math.isfinite(value) or value < low:
        raise SpecError(key, f"must be at least {low:g}, not {value!r}")


def between(key: str, value: float, low: float, high: float) -> None:
    """Refuse a number outside ``low``..``high``."""
    if not math.isfinite(value) or not low <= value <= high:
        raise SpecError(key, f"must lie between {low:g} and {high:g}, not {value!r}")


def one_of(key: str, value: str, known: tuple[str, ...]) -> None:
    """Refuse a word that is not in ``known``."""
    if value not in known:
        raise SpecError(key, f"{value!r} is not one of {', '.join(known)}")


def instance_type(key: str, value: str, *, sagemaker: bool) -> None:
    """Refuse what is not an instance type of the service: SageMaker's start with ``ml.``."""
    bare = value.removeprefix("ml.")
    if not _INSTANCE.fullmatch(bare):
        raise SpecError(key, f"{value!r} is not an instance type", hint="write it like c7i.large")
    if value.startswith("ml.") != sagemaker:
        right = f"ml.{bare}" if sagemaker else bare
        raise SpecError(key, f"{value!r} is of the other service", hint=f"write {right!r}")


def name(key: str, value: str) -> None:
    """Refuse a name that AWS resources could not carry (letters, digits, single hyphens, at most 41)."""
    if len(value) > 41 or not _NAME.fullmatch(value):
        raise SpecError(
            key, f"{value!r} must be 1 to 41 letters, digits and inner hyphens", hint="try my-model"
        )
