"""Models, endpoint configs, endpoints and transform jobs.

Plain boto3, not ``sagemaker.core.resources``: that package brings 49 distributions (422 MB installed, 2.4 s to
import, measured 2026-11-21), sends telemetry unless told not to, and validates answers so strictly that an
optional shape AWS leaves empty stops it; what it adds over these calls is typing of the answers.

Requests are the API's own documents. Creating what exists is told apart from creating: the caller compares.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from deployer.aws.session import Aws, ClientError, code_of, says, translated

Request = Mapping[str, Any]


class SageMaker:
    """SageMaker in one account and region."""

    def __init__(self, aws: Aws) -> None:
        self._aws = aws

    @property
    def _client(self) -> Any:
        return self._aws.client("sagemaker")

    def model(self, name: str) -> Request | None:
        """Describe a model; None when there is none."""
        return self._describe("model", self._client.describe_model, ModelName=name)

    def config(self, name: str) -> Request | None:
        """Describe an endpoint config; None when there is none."""
        call = self._client.describe_endpoint_config
        return self._describe("endpoint config", call, EndpointConfigName=name)

    def endpoint(self, name: str) -> Request | None:
        """Describe an endpoint; None when there is none."""
        return self._describe("endpoint", self._client.describe_endpoint, EndpointName=name)

    def create_model(self, request: Request) -> bool:
        """Create a model; False when one of that name is there."""
        return self._create("model", self._client.create_model, request)

    def create_config(self, request: Request) -> bool:
        """Create an endpoint config; False when one of that name is there."""
        return self._create("endpoint config", self._client.create_endpoint_config, request)

    def create_endpoint(self, request: Request) -> bool:
        """Create an endpoint; False when one of that name is there."""
        return self._create("endpoint", self._client.create_endpoint, request)

    def update_endpoint(self, request: Request) -> bool:
        """Start an update; False when the endpoint is busy with one."""
        with translated(f"updating endpoint {request['EndpointName']!r}"):
            try:
                self._client.update_endpoint(**request)
            except ClientError as error:
                if says(error, "in-progress", "in progress", "cannot update", "being updated"):
                    return False
                raise
        return True

    def delete_model(self, name: str) -> bool:
        """Delete a model; False when there was none."""
        return self._delete("model", self._client.delete_model, ModelName=name)

    def delete_config(self, name: str) -> bool:
        """Delete an endpoint config; False when there was none."""
        call = self._client.delete_endpoint_config
        return self._delete("endpoint config", call, EndpointConfigName=name)

    def delete_endpoint(self, name: str) -> bool:
        """Start to delete an endpoint; False when there was none or it is going already."""
        return self._delete("endpoint", self._client.delete_endpoint, EndpointName=name)

    def models(self, prefix: str) -> Iterator[tuple[str, str]]:
        """Yield (name, ARN) of the models whose name starts with ``prefix``, over all pages."""
        yield from self._names("list_models", "Models", "Model", prefix)

    def configs(self, prefix: str) -> Iterator[tuple[str, str]]:
        """Yield (name, ARN) of the endpoint configs whose name starts with ``prefix``."""
        page = ("list_endpoint_configs", "EndpointConfigs", "EndpointConfig")
        yield from self._names(*page, prefix)

    def endpoints(self, prefix: str) -> Iterator[tuple[str, str]]:
        """Yield (name, ARN) of the endpoints whose name starts with ``prefix``."""
        yield from self._names("list_endpoints", "Endpoints", "Endpoint", prefix)

    def transform_jobs(self, prefix: str) -> Iterator[tuple[str, str, str]]:
        """Yield (name, ARN, status) of the transform jobs whose name starts with ``prefix``."""
        with translated("listing transform jobs"):
            pages = self._client.get_paginator("list_transform_jobs").paginate(NameContains=prefix)
            for page in pages:
                for job in page.get("TransformJobSummaries", ()):
                    if str(job["TransformJobName"]).startswith(prefix):
                        name, status = job["TransformJobName"], job["TransformJobStatus"]
                        yield str(name), str(job["TransformJobArn"]), str(status)

    def transform_job(self, name: str) -> Request | None:
        """Describe a transform job; None when there is none."""
        call = self._client.describe_transform_job
        return self._describe("transform job", call, TransformJobName=name)

    def create_transform_job(self, request: Request) -> bool:
        """Start a transform job; False when one of that name is there."""
        return self._create("transform job", self._client.create_transform_job, request)

    def stop_transform_job(self, name: str) -> bool:
        """Ask a transform job to stop; False when there is none that runs."""
        call = self._client.stop_transform_job
        return self._delete("transform job", call, TransformJobName=name)

    def tags(self, arn: str) -> dict[str, str]:
        """Return the tags of a resource; empty when it is gone."""
        found: dict[str, str] = {}
        with translated(f"reading the tags of {arn}"):
            try:
                for page in self._client.get_paginator("list_tags").paginate(ResourceArn=arn):
                    found |= {tag["Key"]: tag["Value"] for tag in page.get("Tags", ())}
            except ClientError as error:
                if not _missing(error):
                    raise
        return found

    def set_tags(self, arn: str, tags: Mapping[str, str]) -> None:
        """Add or replace tags."""
        rows = [{"Key": key, "Value": value} for key, value in sorted(tags.items())]
        with translated(f"tagging {arn}"):
            self._client.add_tags(ResourceArn=arn, Tags=rows)

    def unset_tags(self, arn: str, keys: Sequence[str]) -> None:
        """Remove tags; keys that are not there do not matter."""
        with translated(f"removing tags of {arn}"):
            self._client.delete_tags(ResourceArn=arn, TagKeys=list(keys))

    def instance_types(self, operation: str = "CreateEndpointConfig") -> tuple[str, ...]:
        """Return the instance types that the installed service model lists for an operation's fleet."""
        shapes = {
            "CreateEndpointConfig": "ProductionVariantInstanceType",
            "CreateTransformJob": "TransformInstanceType",
        }
        model = self._client.meta.service_model
        return tuple(model.shape_for(shapes[operation]).enum)

    def _describe(self, what: str, call: Callable[..., Any], **name: str) -> Request | None:
        with translated(f"describing {what} {next(iter(name.values()))!r}"):
            try:
                answer: dict[str, Any] = call(**name)
            except ClientError as error:
                if _missing(error):
                    return None
                raise
        answer.pop("ResponseMetadata", None)
        return answer

    def _create(self, what: str, call: Callable[..., Any], request: Request) -> bool:
        with translated(f"creating {what} {next(iter(request.values()))!r}"):
            try:
                call(**request)
            except ClientError as error:
                if says(error, "already exist", "existing") or code_of(error) == "ResourceInUse":
                    return False
                raise
        return True

    def _delete(self, what: str, call: Callable[..., Any], **name: str) -> bool:
        with translated(f"deleting {what} {next(iter(name.values()))!r}"):
            try:
                call(**name)
            except ClientError as error:
                if _missing(error) or says(error, "is deleting", "being deleted", "in-progress"):
                    return False
                raise
        return True

    def _names(
        self, operation: str, rows: str, word: str, prefix: str
    ) -> Iterator[tuple[str, str]]:
        with translated(f"{operation.replace('_', ' ')}"):
            some = {"NameContains": prefix} if prefix else {}  # AWS takes no empty one
            for page in self._client.get_paginator(operation).paginate(**some):
                for row in page.get(rows, ()):
                    if str(row[f"{word}Name"]).startswith(prefix):
                        yield str(row[f"{word}Name"]), str(row[f"{word}Arn"])


def _missing(error: ClientError) -> bool:
    if code_of(error) in ("ResourceNotFound", "ResourceNotFoundException"):
        return True
    return says(error, "could not find", "does not exist", "not found", "no longer exist")
