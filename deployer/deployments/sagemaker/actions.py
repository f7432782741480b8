"""One function for each kind of step; each may be repeated, and looks at what is there when it must."""

from __future__ import annotations

import tempfile
from pathlib import Path

from deployer.aws.autoscaling import Autoscaling
from deployer.aws.metrics import CloudWatch
from deployer.aws.roles import Roles
from deployer.aws.sagemaker import SageMaker
from deployer.aws.session import Aws
from deployer.aws.storage import Storage, object_options
from deployer.aws.upload import PART_BYTES, upload
from deployer.bundle import archive
from deployer.bundle import bundle as bundles
from deployer.deployments.aws import objects
from deployer.deployments.aws.polling import Polling
from deployer.deployments.sagemaker import observe, requests
from deployer.deployments.sagemaker.waiting import eventually
from deployer.errors import DeployerError
from deployer.progress import Say
from deployer.spec import naming
from deployer.spec.naming import BUCKET_TAG, EXPIRES_TAG, NAME_TAG
from deployer.spec.resolved import Resolved
from inference_code.contract import MANIFEST_PATH, Manifest


class Actions:
    """What makes one resolved deployment's resources."""

    def __init__(
        self,
        aws: Aws,
        resolved: Resolved,
        polling: Polling,
        say: Say,
        *,
        part_bytes: int = PART_BYTES,
    ) -> None:
        self._aws, self._resolved, self._polling, self._say = aws, resolved, polling, say
        self._part_bytes = part_bytes
        self._sagemaker = SageMaker(aws)
        self._storage = Storage(aws, resolved.artifact.bucket)

    def role(self) -> None:
        """Make the execution role and write its policy."""
        roles, role = Roles(self._aws), self._resolved.role
        tags = {**self._resolved.tags, BUCKET_TAG: self._resolved.artifact.bucket}
        made = roles.create(role.name, requests.trust(self._resolved), tags)
        if not made and roles.tags(role.name).get(NAME_TAG) != self._resolved.spec.name:
            raise DeployerError(f"role {role.name!r} exists and deployer did not make it")
        roles.put_policy(role.name, observe.POLICY, requests.permissions(self._resolved))

    def bucket(self) -> None:
        """Make the bucket, which all deployments of the account and region share."""
        objects.make_bucket(self._aws, self._resolved.artifact)

    def bundle(self) -> None:
        """Upload the bundle, whole, verified against the digest that is resolved."""
        artifact = self._resolved.artifact
        key = self._resolved.spec.target.kms_key_arn
        if artifact.files:
            path = Path(artifact.source)
            bundle = bundles.open_bundle(path, digest=artifact.digest)
            self._files(path, bundle.manifest, objects.own_tags(self._resolved.tags), key)
            return
        objects.put_archive(
            self._aws,
            artifact,
            self._resolved.tags,
            key,
            self._say,
            part_bytes=self._part_bytes,
        )

    def _files(self, path: Path, manifest: Manifest, tags: dict[str, str], kms: str) -> None:
        """Write the bundle's files one by one; what an older bundle has is copied within S3.

        The manifest goes last: its presence says that all the others are there.
        """
        artifact = self._resolved.artifact
        older = self._older_members()
        there = set(self._storage.keys(artifact.key))
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / "bundle"
            archive.unpack(path, folder)
            for member in manifest.members:
                key = artifact.key + member.path
                if key in there:
                    continue
                options = object_options({"sha256": member.sha256}, tags, kms)
                source = older.get(member.sha256)
                if source is not None:
                    self._storage.copy(source, key, options)
                    self._say(f"{member.path}: copied within S3, {member.size:,} bytes not sent")
                else:
                    upload(
                        self._storage,
                        folder / member.path,
                        key,
                        options,
                        part_bytes=self._part_bytes,
                        say=self._say,
                    )
            options = object_options({"digest": artifact.digest}, tags, kms)
            self._storage.put(artifact.key + MANIFEST_PATH, manifest.to_json().encode(), options)

    def _older_members(self) -> dict[str, str]:
        """Return the keys of the files of other bundles that lie whole in S3, by sha256."""
        start = naming.bundles(self._resolved.spec.name)
        found: dict[str, str] = {}
        for key in self._storage.keys(start):
            if key.endswith(f"/model/{MANIFEST_PATH}"):
                text = self._storage.read(key)
                if text is not None:
                    base = key.removesuffix(MANIFEST_PATH)
                    members = Manifest.from_json(text).members
                    found |= {member.sha256: base + member.path for member in members}
        return found

    def model(self) -> None:
        """Make the model; one that is there already must hold the same."""
        request = requests.model(self._resolved)
        words = ("assume role", "could not access", "unable to", "not authorized", "no such role")
        made = eventually(lambda: self._sagemaker.create_model(request), words, self._polling)
        if not made:
            self._same("model", self._sagemaker.model(self._resolved.model_name), request)

    def config(self) -> None:
        """Make the endpoint config; one that is there already must hold the same."""
        request = requests.config(self._resolved)
        made = eventually(
            lambda: self._sagemaker.create_config(request), ("could not find",), self._polling
        )
        if not made:
            name = self._resolved.config_name
            self._same("endpoint config", self._sagemaker.config(name), request)

    def alarm(self, name: str) -> None:
        """Put one alarm: of the rollout, or of a step policy, whose action it then needs."""
        watch = CloudWatch(self._aws)
        for item in self._resolved.alarms:
            if item.name == name:
                watch.put_alarm(requests.alarm(item, self._resolved.tags))
        scaling = self._resolved.scaling
        for stepping in scaling.stepping if scaling else ():
            if stepping.alarm.name == name:
                # Putting an equal policy changes nothing, and tells its ARN.
                arn = self._scaling.put_policy(requests.stepping(stepping))
                watch.put_alarm(requests.alarm(stepping.alarm, self._resolved.tags, arn))

    def target(self) -> None:
        """Register the scalable target or change its bounds."""
        wanted = self._resolved.scaling
        if wanted is None:
            raise ValueError("a fixed fleet has no scalable target")
        eventually(
            lambda: self._scaling.register(
                wanted.min_capacity, wanted.max_capacity, self._resolved.tags
            ),
            ("not found", "could not find", "does not exist"),
            self._polling,
        )

    def policy(self, name: str) -> None:
        """Put one scaling policy."""
        wanted = self._resolved.scaling
        for track in wanted.tracking if wanted else ():
            if track.name == name:
                self._scaling.put_policy(requests.tracking(track))
        for stepping in wanted.stepping if wanted else ():
            if stepping.name == name:
                self._scaling.put_policy(requests.stepping(stepping))

    def schedule(self, name: str) -> None:
        """Put one scheduled action."""
        wanted = self._resolved.scaling
        for action in wanted.schedules if wanted else ():
            if action.name == name:
                self._scaling.put_schedule(requests.schedule(action))

    def tags(self) -> None:
        """Let the endpoint's tags say what it is now."""
        found = observe.endpoint(self._aws, self._resolved.endpoint_name)
        if found is None:
            return  # it was removed meanwhile: the next look tells
        if EXPIRES_TAG in found.tags and not self._resolved.expires:
            self._sagemaker.unset_tags(found.arn, [EXPIRES_TAG])
        self._sagemaker.set_tags(found.arn, self._resolved.tags)

    def remove(self, kind: str, name: str) -> None:
        """Remove one thing that is ours and no longer used."""
        match kind:
            case "scaling policy":
                self._scaling.delete_policy(name)
            case "schedule":
                self._scaling.delete_schedule(name)
            case "scaling target":
                self._scaling.deregister()
            case "alarm":
                CloudWatch(self._aws).delete_alarms([name])
            case "endpoint config":
                self._sagemaker.delete_config(name)
            case "model":
                self._sagemaker.delete_model(name)
            case "bundle":
                self._storage.remove(f"{naming.bundles(self._resolved.spec.name)}{name}/")
            case _:
                raise ValueError(f"{kind} is never removed while deploying")

    @property
    def _scaling(self) -> Autoscaling:
        found = observe.scaling_of(self._aws, self._resolved)
        if found is None:
            raise ValueError("a batch target does not scale")
        return found

    def _same(self, what: str, found: object, request: requests.Document) -> None:
        """Refuse a resource under our content's name that says otherwise where it says anything."""
        if found is None:
            return  # it is going away, or not visible yet: the next call tells
        reported = {key: value for key, value in request.items() if key in dict(found)}  # type: ignore[call-overload]
        if not observe.holds(reported, found):
            name = next(iter(request.values()))
            raise DeployerError(
                f"{what} {name!r} exists and holds something else than its name says",
                hint="it was made by another tool: remove it, or choose another deployment name",
            )
