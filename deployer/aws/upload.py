"""A large file into S3: in parts, going on where an interrupted upload stopped."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from deployer.aws.session import ClientError, code_of, translated
from deployer.aws.storage import Storage
from deployer.progress import Say, silent

PART_BYTES = 64 * 2**20
"""Size of a part: S3 takes 5 MiB to 5 GiB, and at most 10,000 parts."""


def upload(
    storage: Storage,
    path: Path,
    key: str,
    options: Mapping[str, Any],
    *,
    part_bytes: int = PART_BYTES,
    say: Say = silent,
) -> None:
    """Write the file at ``path`` to ``key``; the object appears whole or not at all.

    Parts that an interrupted upload has left, and that hold these very bytes, are not sent again.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        if size <= part_bytes:
            storage.put(key, file, options)
        else:
            _Parts(storage, key, part_bytes, -(-size // part_bytes), say).send(file, options)


class _Parts:
    """One multipart upload."""

    def __init__(self, storage: Storage, key: str, part_bytes: int, count: int, say: Say) -> None:
        self._storage, self._key, self._say = storage, key, say
        self._part_bytes, self._count = part_bytes, count

    def send(self, file: BinaryIO, options: Mapping[str, Any]) -> None:
        """Send what is missing and put the parts together."""
        upload = self._begun() or self._begin(options)
        there = self._there(upload)
        parts = []
        for number in range(1, self._count + 1):
            content = file.read(self._part_bytes)
            checksum = base64.b64encode(hashlib.sha256(content).digest()).decode()
            found = there.get(number)
            if found is None or not _same(found, content, checksum):
                found = self._send_part(upload, number, content, checksum)
                self._say(f"part {number} of {self._count} sent")
            part = {"PartNumber": number, "ETag": found["ETag"]}
            if found.get("ChecksumSHA256"):
                part["ChecksumSHA256"] = found["ChecksumSHA256"]
            parts.append(part)
        with translated(f"ending the upload of {self._key}"):
            self._client.complete_multipart_upload(
                **self._where, UploadId=upload, MultipartUpload={"Parts": parts}
            )

    @property
    def _client(self) -> Any:
        return self._storage.client

    @property
    def _where(self) -> dict[str, str]:
        return {**self._storage.whose, "Key": self._key}

    def _begun(self) -> str | None:
        uploads = [upload for key, upload in self._storage.uploads(self._key) if key == self._key]
        return uploads[-1] if uploads else None

    def _begin(self, options: Mapping[str, Any]) -> str:
        with translated(f"beginning the upload of {self._key}"):
            answer = self._client.create_multipart_upload(
                **self._where, ChecksumAlgorithm="SHA256", **options
            )
        return str(answer["UploadId"])

    def _there(self, upload: str) -> dict[int, Mapping[str, Any]]:
        with translated(f"listing the parts of {self._key}"):
            try:
                pages = self._client.get_paginator("list_parts").paginate(
                    **self._where, UploadId=upload
                )
                rows = [row for page in pages for row in page.get("Parts", ())]
            except ClientError as error:
                if code_of(error) != "NoSuchUpload":
                    raise
                rows = []
        return {int(row["PartNumber"]): row for row in rows}

    def _send_part(
        self, upload: str, number: int, content: bytes, checksum: str
    ) -> Mapping[str, Any]:
        with translated(f"sending part {number} of {self._key}"):
            answer: Mapping[str, Any] = self._client.upload_part(
                **self._where,
                UploadId=upload,
                PartNumber=number,
                Body=content,
                ChecksumSHA256=checksum,
            )
        return answer


def _same(part: Mapping[str, Any], content: bytes, checksum: str) -> bool:
    """Whether a part in S3 holds ``content``: by its checksum, else by the ETag, which is its MD5."""
    if part.get("Size") != len(content):
        return False
    if part.get("ChecksumSHA256"):
        return bool(part["ChecksumSHA256"] == checksum)
    digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
    return str(part.get("ETag", "")).strip('"') == digest
