"""What planning works out before anybody is asked: from a specification and its bundle's file alone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from deployer.bundle.bundle import Bundle
from deployer.cost.month import MonthlyCost
from deployer.deployments.backend import Asked
from deployer.deployments.sagemaker import inventory, requests
from deployer.deployments.sagemaker.resolve import resolve
from deployer.pricing.book import PriceBook
from deployer.runs import Run
from deployer.spec.deployment import DeploymentSpec
from deployer.spec.placeholders import BUNDLE_DIGEST
from deployer.spec.resolved import Image, Place, Resolved


@dataclass(frozen=True)
class Draft:
    """A specification with its bundle, ready to be resolved."""

    spec: DeploymentSpec
    digest: str
    asked: Asked
    now: datetime
    vcpus: int | None

    def resolve(self, place: Place, image: Image) -> Resolved:
        """Return the resolved document of a place and an image. Raises SpecError."""
        return resolve(
            self.spec,
            place,
            image,
            self.digest,
            asked=self.asked,
            now=self.now,
            vcpus=self.vcpus,
        )

    def priced(
        self, place: Place, image: Image, book: PriceBook, run: Run | None
    ) -> tuple[Resolved, MonthlyCost]:
        """Return the document and its cost, which need nobody's answer. Raises SpecError."""
        found = self.resolve(place, image)
        return found, inventory.predict(found, book, run)


def draft(spec: DeploymentSpec, bundle: Bundle | None, book: PriceBook, asked: Asked) -> Draft:
    """Return the draft; without a bundle its digest is a placeholder. Raises InputError for another target."""
    requests.hosting(spec)
    shape = book.shape(spec.target.instance_type)
    return Draft(
        spec,
        bundle.digest if bundle else BUNDLE_DIGEST,
        asked,
        datetime.now(UTC),
        shape.vcpu if shape else None,
    )
