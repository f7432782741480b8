"""Why a container did not come up, from what it said last: pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

CAUSES: tuple[tuple[str, str, str], ...] = (
    (
        r"exec format error",
        "the image is for another processor than the instances have (exec format error)",
        "build it for the instance family's processor, or choose another family",
    ),
    (
        r"(?:ModuleNotFoundError|ImportError): (?:No module named )?'?([\w.]+)",
        "the container could not import {0!r}",
        "add it to code/requirements.txt and build the image again; `deployer check` finds this here",
    ),
    (
        r"out of memory|MemoryError|bad_alloc|OOMKilled|Killed\b|CannotAllocate",
        "the container ran out of memory",
        "choose a larger instance, or fewer workers in the bundle",
    ),
    (
        r"Address already in use|EADDRINUSE",
        "the server's port was taken",
        "let one server alone listen on port 8080",
    ),
    (
        r"No space left on device",
        "the disk is full",
        "raise target.volume_gb or choose an instance with a larger disk",
    ),
    (
        r"(?:No such file or directory|FileNotFoundError|does not exist).*?(/opt/ml/model\S*)",
        "the model file {0} is missing",
        "look at the bundle's members; `deployer check` finds this here",
    ),
    (
        r"AccessDenied|Access Denied|is not authorized to perform",
        "the execution role lacks a permission",
        "let deployer make the role, or add what the message names to target.role_arn's",
    ),
    (
        r"CannotStartContainerError|executable file not found|permission denied.*serve",
        "the image does not start with the argument `serve`",
        "play SageMaker's rules on it: `deployer check BUNDLE --image IMAGE`",
    ),
    (
        r"ping health check|did not pass the ping",
        "the container did not answer GET /ping on port 8080 in time",
        "raise target.health_check_timeout_s if it is only slow; `deployer check` measures it",
    ),
    (
        r"insufficient capacity|InsufficientInstanceCapacity|capacity",
        "AWS has no such instances free now",
        "try again later, or another instance type",
    ),
)
"""What to look for, what it means, and what to do; the first that is found is named."""


def cause(reason: str, lines: Sequence[str]) -> tuple[str, str]:
    """Return the likely cause and what to do; AWS's own reason when nothing is recognised.

    The log is looked at before the reason: it knows more.
    """
    for text in ("\n".join(lines), reason):
        for pattern, words, hint in CAUSES:
            match = re.search(pattern, text, re.IGNORECASE)
            if match is not None:
                return words.format(*match.groups()), hint
    return reason or "AWS gives no reason", "read the whole log with `deployer logs`"
