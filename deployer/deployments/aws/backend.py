"""What the backends of both AWS targets have alike: the account, the price book, the note that goes at the end."""

from __future__ import annotations

from collections.abc import Callable

from deployer.aws.session import Aws
from deployer.deployments.aws import notes
from deployer.deployments.aws.polling import Polling
from deployer.pricing.book import PriceBook

Remove = Callable[[str, Polling], tuple[str, ...]]
"""Takes the bucket that is noted (or empty text) and how to wait; returns what it removed."""


class AwsBackend:
    """A target in the account and region that ``aws`` is connected to; ``book`` prices it."""

    def __init__(self, aws: Aws, book: PriceBook) -> None:
        self._aws, self._book = aws, book

    @property
    def whereabouts(self) -> str:
        """The account and the region."""
        return self._aws.whereabouts

    def _removed(self, name: str, remove: Remove) -> tuple[str, ...]:
        """Return what ``remove`` removed, and forget where it was."""
        return notes.removed(name, self._aws.region, lambda bucket: remove(bucket, Polling()))
