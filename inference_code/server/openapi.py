"""The OpenAPI document of a server, made of what its handler says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inference_code.contract import INVOCATIONS_ROUTE, JSON_TYPE, METRICS_ROUTE, PING_ROUTE

_ERRORS = {
    400: "The body cannot be read, or the model refuses what it holds; the message names the input.",
    406: "The answer cannot be written in the type asked for.",
    408: "The request did not arrive in time.",
    413: "The body is too long, or needs more memory than there is.",
    415: "The content type is not read.",
    431: "The head is too long.",
    500: "The model failed on this request.",
    503: "Overloaded, not ready or draining: try again after Retry-After seconds.",
    504: "The deadline passed.",
}


def document(name: str, interface: Mapping[str, Any]) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of model ``name``."""
    content: dict[str, Any] = {"schema": interface.get("request", {})}
    if "example" in interface:
        content["example"] = interface["example"]
    answer = {JSON_TYPE: {"schema": interface.get("answer", {})}}
    invoke = {
        "operationId": "invoke",
        "summary": "Ask the model.",
        "requestBody": {"required": True, "content": {JSON_TYPE: content}},
        "responses": {
            "200": {"description": "The model's answer.", "content": answer},
            **{str(code): _error(text) for code, text in _ERRORS.items()},
        },
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": name, "version": "1"},
        "paths": {
            INVOCATIONS_ROUTE: {"post": invoke},
            PING_ROUTE: {"get": _get("ping", "200 while an inference can run.", True)},
            METRICS_ROUTE: {"get": _get("metrics", "Prometheus text.", False)},
        },
    }


def _get(name: str, description: str, may_fail: bool) -> dict[str, Any]:
    responses: dict[str, Any] = {"200": {"description": description}}
    if may_fail:
        responses["503"] = {"description": "No inference can run."}
    return {"operationId": name, "summary": description, "responses": responses}


def _error(description: str) -> dict[str, Any]:
    schema = {
        "type": "object",
        "properties": {"error": {"type": "string"}, "message": {"type": "string"}},
        "required": ["error", "message"],
    }
    return {"description": description, "content": {JSON_TYPE: {"schema": schema}}}
