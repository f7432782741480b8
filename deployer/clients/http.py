"""One request at a time over HTTP: a local server, or a load balancer."""

from __future__ import annotations

import contextlib
import http.client
import ssl

from deployer.clients.base import Answer, Body, Endpoint
from deployer.errors import EnvironmentProblem, Unreachable


class HttpInvoker:
    """Posts bodies to one endpoint, a new connection for each; ``timeout_s`` bounds each wait."""

    def __init__(self, url: str, *, timeout_s: float = 60.0) -> None:
        self.endpoint = Endpoint.parse(url)
        self.timeout_s = timeout_s

    def invoke(self, body: Body, *, accept: str | None = None) -> Answer:
        """Post ``body`` once and return the answer, whatever its status.

        Raises Unreachable when nothing took the connection, EnvironmentProblem when the connection broke
        or no answer came in time: the server may then have done the work, so it is not sent again.
        """
        headers = {"Content-Type": body.content_type}
        if accept is not None:
            headers["Accept"] = accept
        return self.request("POST", self.endpoint.path, body.content, headers)

    def request(
        self, method: str, path: str, content: bytes = b"", headers: dict[str, str] | None = None
    ) -> Answer:
        """Send any request to this endpoint's host. Raises like ``invoke``."""
        connection = self._connect()
        try:
            # A server may refuse a body, and hang up, before it has read all of it: its answer still counts.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.request(method, path, content or None, headers or {})
            response = connection.getresponse()
            names = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, response.read(), names)
        except (OSError, http.client.HTTPException) as error:
            reason = str(error) or type(error).__name__
            raise EnvironmentProblem(
                f"{self.endpoint} gave no answer within {self.timeout_s:g} s: {reason}",
                hint="look at `deployer logs`; the request was not sent again",
            ) from error
        finally:
            connection.close()

    def _connect(self) -> http.client.HTTPConnection:
        host, port = self.endpoint.host, self.endpoint.port
        if self.endpoint.tls:
            context = ssl.create_default_context()
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                host, port, timeout=self.timeout_s, context=context
            )
        else:
            connection = http.client.HTTPConnection(host, port, timeout=self.timeout_s)
        try:
            connection.connect()
        except OSError as error:
            raise Unreachable(
                f"nothing answers at {self.endpoint}: {error.strerror or error}",
                hint="is the server running? `deployer serve BUNDLE` starts one",
            ) from error
        return connection
