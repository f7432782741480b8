"""Ask the container as SageMaker does: within its time, with its headers, and an answer or an error."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from deployer.clients.base import Answer
from deployer.clients.http import HttpInvoker
from deployer.errors import EnvironmentProblem, Unreachable
from deployer.localmode import rules
from inference_code.contract import INVOCATIONS_ROUTE


@dataclass(frozen=True)
class Container:
    """A bundle's server, by the URL that only local mode asks."""

    url: str

    def invoke(
        self, body: bytes, headers: Mapping[str, str], timeout_s: float = rules.TIMEOUT_S
    ) -> Answer:
        """Return the container's success. Raises rules.Refusal, a ModelError, for all else."""
        invoker = HttpInvoker(self.url, timeout_s=timeout_s)
        try:
            answer = invoker.request("POST", INVOCATIONS_ROUTE, body, dict(headers))
        except Unreachable as error:
            raise rules.no_answer(f"nothing listens: {error.message}") from error
        except EnvironmentProblem as error:
            raise rules.no_answer(
                f"Your invocation timed out while waiting for a response from container primary, "
                f"or the connection broke: {error.message}"
            ) from error
        if not 200 <= answer.status < 300:
            raise rules.model_error(answer.status, answer.content)
        return answer
