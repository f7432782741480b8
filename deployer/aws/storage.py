"""S3: a bucket of ours, objects that are uploaded once, and the removal of all under a prefix.

Every call names the account that must own the bucket, so that a bucket somebody else made under a name that can
be guessed is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from deployer.aws.session import Aws, ClientError, code_of, translated
from deployer.errors import PartialFailure

_GONE = ("404", "NoSuchKey", "NoSuchBucket", "NotFound", "NoSuchTagSet", "NoSuchUpload")
_PAGE = 1000


class Storage:
    """One bucket."""

    def __init__(self, aws: Aws, bucket: str) -> None:
        self.aws = aws
        self.bucket = bucket

    @property
    def client(self) -> Any:
        """The S3 client."""
        return self.aws.client("s3")

    @property
    def whose(self) -> dict[str, str]:
        """What every call names: the bucket and its owner."""
        return {"Bucket": self.bucket, "ExpectedBucketOwner": self.aws.identity[0]}

    def exists(self) -> bool:
        """Return whether the bucket is there. Raises AwsRefusal when it is another account's."""
        with translated(f"looking for bucket {self.bucket!r}"):
            try:
                self.client.head_bucket(**self.whose)
            except ClientError as error:
                if code_of(error) in _GONE:
                    return False
                raise
        return True

    def bucket_tags(self) -> dict[str, str]:
        """Return the bucket's tags; empty without any, or without a bucket."""
        with translated(f"reading the tags of bucket {self.bucket!r}"):
            try:
                rows = self.client.get_bucket_tagging(**self.whose)["TagSet"]
            except ClientError as error:
                if code_of(error) in _GONE:
                    return {}
                raise
        return {row["Key"]: row["Value"] for row in rows}

    def make(self, tags: Mapping[str, str]) -> bool:
        """Create the bucket, private and encrypted; False when it is ours already. Safe to repeat."""
        request: dict[str, Any] = {"Bucket": self.bucket}
        if self.aws.region != "us-east-1":
            request["CreateBucketConfiguration"] = {"LocationConstraint": self.aws.region}
        made = True
        with translated(f"creating bucket {self.bucket!r}"):
            try:
                self.client.create_bucket(**request)
            except ClientError as error:
                if code_of(error) != "BucketAlreadyOwnedByYou":
                    raise
                made = False
            self.client.put_public_access_block(
                **self.whose,
                PublicAccessBlockConfiguration={
                    "BlockPublicAcls": True,
                    "IgnorePublicAcls": True,
                    "BlockPublicPolicy": True,
                    "RestrictPublicBuckets": True,
                },
            )
            rows = [{"Key": key, "Value": value} for key, value in sorted(tags.items())]
            self.client.put_bucket_tagging(**self.whose, Tagging={"TagSet": rows})
        return made

    def metadata(self, key: str) -> Mapping[str, str] | None:
        """Return an object's own metadata with ``size``; None when there is no such object."""
        with translated(f"looking for s3://{self.bucket}/{key}"):
            try:
                answer = self.client.head_object(**self.whose, Key=key)
            except ClientError as error:
                if code_of(error) in _GONE:
                    return None
                raise
        return {**answer.get("Metadata", {}), "size": str(answer["ContentLength"])}

    def read(self, key: str) -> bytes | None:
        """Return an object's bytes; None when there is no such object."""
        found = self.fetch(key)
        return None if found is None else found[0]

    def fetch(self, key: str) -> tuple[bytes, str] | None:
        """Return an object's bytes and content type; None when there is no such object."""
        with translated(f"reading s3://{self.bucket}/{key}"):
            try:
                answer = self.client.get_object(**self.whose, Key=key)
                content: bytes = answer["Body"].read()
            except ClientError as error:
                if code_of(error) in _GONE:
                    return None
                raise
        return content, str(answer.get("ContentType", ""))

    def put(self, key: str, body: Any, options: Mapping[str, Any]) -> None:
        """Write an object in one request; ``options`` as from ``object_options``."""
        with translated(f"writing s3://{self.bucket}/{key}"):
            self.client.put_object(
                **self.whose, Key=key, Body=body, ChecksumAlgorithm="SHA256", **options
            )

    def copy(self, source: str, key: str, options: Mapping[str, Any]) -> None:
        """Copy an object within the bucket, its bytes never leaving S3; at most 5 GB."""
        with translated(f"copying s3://{self.bucket}/{source}"):
            self.client.copy_object(
                **self.whose,
                Key=key,
                CopySource={"Bucket": self.bucket, "Key": source},
                MetadataDirective="REPLACE",
                TaggingDirective="REPLACE",
                ExpectedSourceBucketOwner=self.aws.identity[0],
                **options,
            )

    def keys(self, prefix: str) -> Iterator[str]:
        """Yield the keys under a prefix, over all pages; none without a bucket."""
        with translated(f"listing s3://{self.bucket}/{prefix}"):
            try:
                pages = self.client.get_paginator("list_objects_v2")
                for page in pages.paginate(**self.whose, Prefix=prefix):
                    yield from (str(row["Key"]) for row in page.get("Contents", ()))
            except ClientError as error:
                if code_of(error) not in _GONE:
                    raise

    def folders(self, prefix: str) -> Iterator[str]:
        """Yield what follows a prefix up to the next slash, with the prefix; none without a bucket."""
        with translated(f"listing s3://{self.bucket}/{prefix}"):
            try:
                pages = self.client.get_paginator("list_objects_v2")
                for page in pages.paginate(**self.whose, Prefix=prefix, Delimiter="/"):
                    yield from (str(row["Prefix"]) for row in page.get("CommonPrefixes", ()))
            except ClientError as error:
                if code_of(error) not in _GONE:
                    raise

    def tags(self, key: str) -> dict[str, str]:
        """Return an object's tags; empty when there is none of that key."""
        with translated(f"reading the tags of s3://{self.bucket}/{key}"):
            try:
                rows = self.client.get_object_tagging(**self.whose, Key=key)["TagSet"]
            except ClientError as error:
                if code_of(error) in _GONE:
                    return {}
                raise
        return {row["Key"]: row["Value"] for row in rows}

    def uploads(self, prefix: str) -> Iterator[tuple[str, str]]:
        """Yield (key, id) of the multipart uploads under a prefix that were begun and not ended."""
        with translated(f"listing unfinished uploads to s3://{self.bucket}/{prefix}"):
            try:
                pages = self.client.get_paginator("list_multipart_uploads")
                for page in pages.paginate(**self.whose, Prefix=prefix):
                    for row in page.get("Uploads", ()):
                        if str(row["Key"]).startswith(prefix):
                            yield str(row["Key"]), str(row["UploadId"])
            except ClientError as error:
                if code_of(error) not in _GONE:
                    raise

    def remove(self, prefix: str) -> int:
        """Delete every object and unfinished upload under a prefix; return how many.

        Raises PartialFailure listing what S3 would not delete.
        """
        keys = list(self.keys(prefix))
        for start in range(0, len(keys), _PAGE):
            self._delete(keys[start : start + _PAGE])
        unfinished = list(self.uploads(prefix))
        for key, upload in unfinished:
            with translated(f"ending the upload of s3://{self.bucket}/{key}"):
                try:
                    self.client.abort_multipart_upload(**self.whose, Key=key, UploadId=upload)
                except ClientError as error:
                    if code_of(error) not in _GONE:
                        raise
        return len(keys) + len(unfinished)

    def remove_bucket(self) -> bool:
        """Delete the bucket; False when it is gone or still holds something."""
        with translated(f"deleting bucket {self.bucket!r}"):
            try:
                self.client.delete_bucket(**self.whose)
            except ClientError as error:
                if code_of(error) in (*_GONE, "BucketNotEmpty"):
                    return False
                raise
        return True

    def _delete(self, keys: Sequence[str]) -> None:
        with translated(f"deleting from s3://{self.bucket}"):
            answer = self.client.delete_objects(
                **self.whose, Delete={"Objects": [{"Key": key} for key in keys], "Quiet": True}
            )
        if errors := answer.get("Errors"):
            first = errors[0]
            raise PartialFailure(
                f"S3 did not delete {len(errors)} objects: {first.get('Code')}: "
                f"{first.get('Message')}",
                remaining=[f"s3://{self.bucket}/{row['Key']}" for row in errors],
            )


def object_options(
    metadata: Mapping[str, str], tags: Mapping[str, str], kms_key_arn: str
) -> dict[str, Any]:
    """Return what goes with an object that is written: metadata, tags, encryption."""
    options: dict[str, Any] = {
        "Metadata": dict(metadata),
        "Tagging": urlencode(sorted(tags.items())),
    }
    if kms_key_arn:
        options |= {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": kms_key_arn}
    return options
