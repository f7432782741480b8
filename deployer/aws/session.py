"""boto3 clients of one account and region, and foreign exceptions translated in one place.

Credentials come from boto3's own chain. The region is resolved once, here, and passed to every client: boto3
reads AWS_DEFAULT_REGION, the CDK reads AWS_REGION first, and one shell may hold both. Nothing here talks to
AWS until a client is used.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from deployer.distribution import install_hint
from deployer.errors import AwsRefusal, EnvironmentProblem

try:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import (
        BotoCoreError,
        NoCredentialsError,
        NoRegionError,
        PartialCredentialsError,
        ProfileNotFound,
    )
    from botocore.exceptions import (
        ClientError as ClientError,
    )
    from botocore.parsers import ResponseParserError
except ImportError as missing:
    raise EnvironmentProblem(
        f"talking to AWS needs boto3: {missing}", hint=install_hint("aws")
    ) from missing

_EXPIRED = ("ExpiredToken", "RequestExpired", "TokenRefreshRequired")
_UNKNOWN = ("UnrecognizedClient", "InvalidClientTokenId", "SignatureDoesNotMatch", "AuthFailure")
_DENIED = ("AccessDenied", "Unauthorized")
_LIBRARIES = ("boto3", "botocore", "s3transfer", "urllib3")
ATTEMPTS = 5
"""Tries of one call; AWS_MAX_ATTEMPTS says otherwise."""


class Aws:
    """The clients of one account and region. ``region_source`` says where the region was read."""

    def __init__(
        self,
        region: str,
        *,
        region_source: str = "given",
        session: Any = None,
        read_timeout_s: float = 60.0,
    ) -> None:
        self.region = region
        self.region_source = region_source
        self._session = session or _session()
        self._read_timeout_s = read_timeout_s
        self._clients: dict[str, Any] = {}

    @property
    def profile(self) -> str:
        """The name of the profile; empty when none is named. Raises EnvironmentProblem when two are."""
        return resolve_profile(os.environ)[0]

    @property
    def whereabouts(self) -> str:
        """Account, region, profile and credentials, each with its source, in one line. Asks AWS once."""
        name, source = resolve_profile(os.environ)
        profile = f"profile {name} (from {source})" if name else "no profile named"
        with translated("reading the AWS credentials"):
            method = getattr(self._session.get_credentials(), "method", "unknown")
        return (
            f"account {self.identity[0]} (from the credentials: {method}), "
            f"region {self.region} (from {self.region_source}), {profile}"
        )

    def client(self, service: str) -> Any:
        """Return the one client of a service."""
        if service not in self._clients:
            self._clients[service] = client(
                service, self.region, session=self._session, read_timeout_s=self._read_timeout_s
            )
        return self._clients[service]

    def once(self, service: str, read_timeout_s: float) -> Any:
        """Return a client of its own that sends each request once: for calls that must not be repeated."""
        return client(
            service, self.region, session=self._session, read_timeout_s=read_timeout_s, attempts=1
        )

    @cached_property
    def identity(self) -> tuple[str, str]:
        """The account's number and the partition. Asks AWS once. Raises EnvironmentProblem."""
        with translated("asking who we are"):
            answer = self.client("sts").get_caller_identity()
        return str(answer["Account"]), str(answer["Arn"]).split(":")[1]

    @cached_property
    def caller(self) -> str:
        """The ARN of who calls."""
        with translated("asking who we are"):
            return str(self.client("sts").get_caller_identity()["Arn"])


def connect(stated: tuple[str, str] | None = None) -> Aws:
    """Return the clients of the one region that all sources agree on.

    ``stated`` is a region and where it stands (the specification, an option). Raises EnvironmentProblem
    when no source names one and when two disagree, be it on the region or on the profile.
    """
    resolve_profile(os.environ)
    session = _session()
    region, source = resolve_region(stated, os.environ, session.region_name)
    return Aws(region, region_source=source, session=session)


def resolve_region(
    stated: tuple[str, str] | None, environ: Mapping[str, str], configured: str | None
) -> tuple[str, str]:
    """Return the region and its source; ``configured`` is what boto3 found by itself.

    The order: what is stated, AWS_REGION, AWS_DEFAULT_REGION, the profile. What is stated and the two
    variables must agree: boto3 and the CDK would otherwise work in two regions.
    """
    variables = ("AWS_REGION", "AWS_DEFAULT_REGION")
    found = [(environ[name], name) for name in variables if environ.get(name)]
    if stated is not None and stated[0]:
        found.insert(0, stated)
    if not found and configured:
        found = [(configured, "the AWS profile")]
    if not found:
        raise EnvironmentProblem("no AWS region is named", hint="set AWS_REGION, or give --region")
    first, source = found[0]
    for other, name in found[1:]:
        if other != first:
            raise EnvironmentProblem(
                f"two regions are named: {first} ({source}) and {other} ({name})",
                hint=f"unset {name}, or make them agree: the CDK and boto3 read different ones",
            )
    return first, source


def resolve_profile(environ: Mapping[str, str]) -> tuple[str, str]:
    """Return the profile that is named and by which variable; both empty when none is.

    Raises EnvironmentProblem when two are named: boto3 takes AWS_DEFAULT_PROFILE first, the CDK the other.
    """
    names = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE")
    found = [(environ[name], name) for name in names if environ.get(name)]
    if len({profile for profile, _ in found}) > 1:
        raise EnvironmentProblem(
            f"two profiles are named: {found[0][0]} (AWS_PROFILE) and {found[1][0]} "
            "(AWS_DEFAULT_PROFILE)",
            hint="unset AWS_DEFAULT_PROFILE: the CDK and boto3 read different ones",
        )
    return found[0] if found else ("", "")


def client(
    service: str,
    region: str | None = None,
    *,
    session: Any = None,
    read_timeout_s: float = 60.0,
    attempts: int | None = None,
) -> Any:
    """Return a boto3 client. Retries are botocore's standard mode unless AWS_RETRY_MODE says otherwise.

    ``session`` is a boto3 Session, by default a new one; ``attempts`` are the tries of one call, whatever the
    environment says. Raises EnvironmentProblem without a region.
    """
    retries: dict[str, Any] = {}
    if "AWS_RETRY_MODE" not in os.environ:
        retries["mode"] = "standard"
    if attempts is not None or "AWS_MAX_ATTEMPTS" not in os.environ:
        retries["total_max_attempts"] = attempts or ATTEMPTS
    config = Config(
        user_agent_extra="deployer",
        retries=retries,
        connect_timeout=10,
        read_timeout=read_timeout_s,
    )
    with translated(f"{service} client"):
        made = (session or _session()).client(service, region_name=region, config=config)
        made.meta.events.register("before-parse", _refuse_pages)
    return made


def _refuse_pages(operation_model: Any, response_dict: Mapping[str, Any], **rest: Any) -> None:
    """Raise for an answer that is no JSON where JSON is spoken: botocore reads it as one that says nothing.

    A proxy's page would then be a list of no models, and what is there would be made again, or thought removed.
    """
    body = response_dict["body"]
    speaks = str(operation_model.service_model.resolved_protocol).endswith("json")
    if speaks and isinstance(body, bytes) and body.strip() and not body.lstrip().startswith(b"{"):
        raise ResponseParserError(f"no JSON but {body[:40]!r}")


def _session() -> Any:
    with translated("reading the AWS configuration"):
        return boto3.Session()


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Turn botocore's exceptions inside the block into ours; ``doing`` says what was tried.

    Raises EnvironmentProblem for missing credentials, region or connection, and for a refusal by AWS the
    AwsRefusal with its code and request id.
    """
    try:
        yield
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise EnvironmentProblem(
            f"{doing}: {error}", hint="configure credentials, for instance with `aws sso login`"
        ) from error
    except NoRegionError as error:
        raise EnvironmentProblem(f"{doing}: {error}", hint="set AWS_REGION or --region") from error
    except ProfileNotFound as error:
        raise EnvironmentProblem(f"{doing}: {error}", hint="look at AWS_PROFILE") from error
    except ClientError as error:
        raise _refusal(doing, error) from error
    except BotoCoreError as error:
        raise EnvironmentProblem(
            f"{doing}: {error}", hint="check the network and the AWS configuration"
        ) from error
    except Exception as error:
        # What else these libraries raise shares no class: answers that cannot be parsed, torn streams.
        if type(error).__module__.partition(".")[0] not in _LIBRARIES:
            raise
        raise EnvironmentProblem(
            f"{doing}: AWS's answer could not be read: {type(error).__name__}: {error}",
            hint="something between here and AWS (a proxy) may have answered; run the same command again",
        ) from error


def code_of(error: ClientError) -> str:
    """Return AWS's word for why it refused."""
    return str(error.response.get("Error", {}).get("Code", "unknown"))


def says(error: ClientError, *words: str) -> bool:
    """Return whether AWS's message holds one of ``words``, whatever the case."""
    message = str(error.response.get("Error", {}).get("Message", "")).lower()
    return any(word in message for word in words)


def _refusal(doing: str, error: ClientError) -> AwsRefusal:
    problem = error.response.get("Error", {})
    request = error.response.get("ResponseMetadata", {}).get("RequestId", "unknown")
    code = code_of(error)
    message = f"{doing}: AWS answered {code}: {problem.get('Message', '')} (request {request})"
    hint = None
    if code.startswith(_EXPIRED):
        hint = "the credentials have expired: renew them, for instance with `aws sso login`"
    elif code.startswith(_UNKNOWN):
        hint = "AWS does not know these credentials: check the keys, the profile and the clock"
    elif code.startswith(_DENIED):
        hint = "these credentials lack permissions: the message names which"
    return AwsRefusal(message, code=code, hint=hint)
