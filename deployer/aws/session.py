"""boto3 clients, and foreign exceptions translated in one place.

Credentials and region come from boto3's own chain. Nothing here talks to AWS until a client is used.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from deployer.errors import DeployerError, EnvironmentProblem

try:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import (
        BotoCoreError,
        ClientError,
        NoCredentialsError,
        NoRegionError,
        PartialCredentialsError,
    )
except ImportError as missing:
    raise EnvironmentProblem(
        f"talking to AWS needs boto3: {missing}", hint="pip install 'deployer[aws]'"
    ) from missing


def client(service: str, region: str | None = None, *, session: Any = None) -> Any:
    """Return a boto3 client. Retries are botocore's standard mode unless AWS_RETRY_MODE says otherwise.

    ``session`` is a boto3 Session, by default a new one. Raises EnvironmentProblem without a region.
    """
    retries = {} if "AWS_RETRY_MODE" in os.environ else {"mode": "standard"}
    config = Config(user_agent_extra="deployer", retries=retries)
    with translated(f"{service} client"):
        return (session or boto3.Session()).client(service, region_name=region, config=config)


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Turn botocore's exceptions inside the block into ours; ``doing`` says what was tried.

    Raises EnvironmentProblem for missing credentials, region or connection, and for a refusal by AWS the
    DeployerError with its code and request id.
    """
    try:
        yield
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise EnvironmentProblem(
            f"{doing}: {error}", hint="configure credentials, for instance with `aws sso login`"
        ) from error
    except NoRegionError as error:
        raise EnvironmentProblem(f"{doing}: {error}", hint="set AWS_REGION or --region") from error
    except ClientError as error:
        raise _refusal(doing, error) from error
    except BotoCoreError as error:
        raise EnvironmentProblem(
            f"{doing}: {error}", hint="check the network and the AWS configuration"
        ) from error


def _refusal(doing: str, error: ClientError) -> DeployerError:
    problem = error.response.get("Error", {})
    request = error.response.get("ResponseMetadata", {}).get("RequestId", "unknown")
    code = problem.get("Code", "unknown")
    message = f"{doing}: AWS answered {code}: {problem.get('Message', '')} (request {request})"
    if code.startswith(("AccessDenied", "Unauthorized", "UnrecognizedClient", "ExpiredToken")):
        return EnvironmentProblem(message, hint="check the credentials and their permissions")
    return DeployerError(message)
