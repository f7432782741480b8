"""Waiting for an endpoint, without believing a stale answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from deployer.aws.session import Aws
from deployer.deployments.aws.polling import Polling
from deployer.deployments.sagemaker import observe
from deployer.deployments.sagemaker.observe import Endpoint
from deployer.errors import AwsRefusal, PartialFailure
from deployer.progress import Say
from deployer.units import format_duration

_T = TypeVar("_T")

BUSY = ("Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting")


class Watch:
    """Looks at one endpoint until it is at rest."""

    def __init__(self, aws: Aws, name: str, polling: Polling, say: Say) -> None:
        self._aws, self._name, self._polling, self._say = aws, name, polling, say
        self._began = polling.clock()

    @property
    def elapsed_s(self) -> float:
        """Seconds since the watch began."""
        return self._polling.clock() - self._began

    def settled(self) -> Endpoint | None:
        """Return the endpoint once two looks agree that nothing is under way; None when there is none."""
        while True:
            self._until(lambda found: found is None or found.status not in BUSY)
            found = observe.surely(self._aws, self._name, sleep=self._polling.sleep)
            if found is None or found.status not in BUSY:
                return found

    def created(self) -> Endpoint | None:
        """Return the endpoint once it is made, or has failed; None when it never appeared."""

        def done(found: Endpoint | None) -> bool:
            if found is None:
                return self.elapsed_s > self._polling.settle_s
            return found.status not in BUSY

        return self._until(done)

    def updated(self, before: Endpoint, config: str) -> Endpoint | None:
        """Return the endpoint once an update to ``config`` is over, whichever config it then runs.

        While it shows the old config at rest and the old time of its last change, the answer is stale.
        """

        def done(found: Endpoint | None) -> bool:
            if found is None or found.status in BUSY:
                return found is None and self.elapsed_s > self._polling.settle_s
            if found.config == config or found.status != "InService":
                return True
            stale = found.modified <= before.modified
            return not stale or self.elapsed_s > self._polling.settle_s

        return self._until(done)

    def gone(self) -> None:
        """Return once the endpoint is gone."""
        self._until(lambda found: found is None)

    def _until(self, done: Callable[[Endpoint | None], bool]) -> Endpoint | None:
        said = ""
        while True:
            found = observe.endpoint(self._aws, self._name)
            if done(found):
                return found
            words = found.status if found is not None else "not visible yet"
            if words != said:
                said = words
                self._say(f"endpoint {self._name}: {words} ({format_duration(self.elapsed_s)})")
            if self.elapsed_s > self._polling.limit_s:
                raise PartialFailure(
                    f"endpoint {self._name!r} is still {words} after "
                    f"{format_duration(self.elapsed_s)}",
                    remaining=[f"endpoint {self._name} ({words})"],
                    hint="it goes on without us: run the same command again to wait further",
                )
            self._polling.sleep(self._polling.poll_s)


def eventually(call: Callable[[], _T], words: tuple[str, ...], polling: Polling) -> _T:
    """Repeat a call that AWS refuses because it does not see yet what was just made.

    ``words`` are looked for in the refusal. Raises the refusal after ``settle_s``.
    """
    began = polling.clock()
    while True:
        try:
            return call()
        except AwsRefusal as error:
            hopeless = not any(word in error.message.lower() for word in words)
            if hopeless or polling.clock() - began > polling.settle_s:
                raise
            polling.sleep(min(polling.poll_s, 5.0))
