"""The ``context`` argument of SageMaker's functions, as their model servers give it."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from inference_code.codecs import media
from inference_code.contract import CUSTOM_ATTRIBUTES_HEADER
from inference_code.errors import HandlerFailed
from inference_code.handler.base import STATUSES

_ATTRIBUTES = CUSTOM_ATTRIBUTES_HEADER.lower()
_LONGEST = 1024


class Metrics:
    """Takes what a script measures of itself; each figure is a line of JSON on stderr."""

    def add_metric(
        self, name: str, value: Any, unit: str | None = None, *_: Any, **dimensions: Any
    ) -> None:
        """Write one figure."""
        line = {"event": "metric", "time": round(time.time(), 3), "name": name, "value": value}
        line |= {"unit": unit} if unit else {}
        sys.stderr.write(json.dumps(line, default=str) + "\n")

    def add_time(self, name: str, value: Any, idx: Any = None, unit: str = "ms", *_: Any) -> None:
        """Write a duration."""
        self.add_metric(name, value, unit)

    def add_size(self, name: str, value: Any, idx: Any = None, unit: str = "MB", *_: Any) -> None:
        """Write a size."""
        self.add_metric(name, value, unit)

    def add_counter(self, name: str, value: Any, *_: Any) -> None:
        """Write a count."""
        self.add_metric(name, value, "count")

    def add_percent(self, name: str, value: Any, *_: Any) -> None:
        """Write a share."""
        self.add_metric(name, value, "percent")

    def add_error(self, name: str, value: Any, *_: Any) -> None:
        """Write an error."""
        self.add_metric(name, value, "error")


class FunctionContext:
    """One request's headers and what its answer is to carry; ``index`` is always 0, as requests come one by one."""

    metrics = Metrics()

    def __init__(self, model_dir: str, headers: Mapping[str, str] | None = None) -> None:
        self.system_properties = {"model_dir": model_dir, "gpu_id": None, "batch_size": 1}
        self.manifest: Mapping[str, Any] = {}
        self.content_type: str | None = None
        self.status = 200
        self._headers = {name.lower(): value for name, value in (headers or {}).items()}
        self._attributes: str | None = None

    @property
    def request_ids(self) -> dict[int, str]:
        """The request's id, by index."""
        return {0: self.get_request_id()}

    @property
    def request_processor(self) -> list[FunctionContext]:
        """This, under the name that older scripts ask."""
        return [self]

    def get_request_id(self, index: int = 0) -> str:
        """Return the id that the caller gave, or ""."""
        return self._headers.get("x-amzn-sagemaker-inference-id", "")

    def get_request_header(self, index: int, name: str) -> str | None:
        """Return one header of the request."""
        return self._headers.get(name.lower())

    def get_all_request_header(self, index: int) -> dict[str, str]:
        """Return all headers of the request, by lower-case name."""
        return dict(self._headers)

    def get_request_properties(self) -> dict[str, str]:
        """Return all headers of the request, by lower-case name."""
        return dict(self._headers)

    def set_response_content_type(self, index: int, value: str) -> None:
        """Say what the answer is."""
        self.content_type = value

    def get_response_content_type(self, index: int) -> str | None:
        """Return what the script has said that the answer is."""
        return self.content_type

    def set_response_status(self, code: int = 200, phrase: str = "", idx: int = 0) -> None:
        """Say how the request ended. Raises HandlerFailed for a number that is no status of an answer."""
        if code not in STATUSES:
            raise HandlerFailed(f"the handler sets the status {code!r}, which HTTP does not know")
        self.status = code

    def set_all_response_status(self, code: int = 200, phrase: str = "") -> None:
        """Say how the request ended."""
        self.set_response_status(code, phrase)

    def get_response_status(self, idx: int = 0) -> tuple[int, str]:
        """Return the status and its phrase."""
        return self.status, HTTPStatus(self.status).phrase

    def set_response_header(self, index: int, name: str, value: str) -> None:
        """Say a header of the answer: the custom attributes, the only one that SageMaker hands on.

        Raises HandlerFailed for attributes that are too long or not printable ASCII.
        """
        if name.lower() != _ATTRIBUTES:
            return
        if len(value) > _LONGEST or not (value.isascii() and value.isprintable()):
            raise HandlerFailed(
                f"the handler's {CUSTOM_ATTRIBUTES_HEADER} is over {_LONGEST} characters, or not ASCII"
            )
        self._attributes = value

    def head(self, kind: str) -> str:
        """Return the answer's content type with, as further header lines, what else the script has set."""
        if "\r" in kind or "\n" in kind:
            raise HandlerFailed("the handler's content type holds a line break")
        if media.is_list(kind):
            raise HandlerFailed("the handler's content type is a list; an answer has one type")
        if self._attributes is None:
            return kind
        return f"{kind}\r\n{_ATTRIBUTES}: {self._attributes}"
