"""Run a Plan step by step. Every step may be repeated, so an interrupted run resumes.

After an update the endpoint must run the new config: SageMaker returns to the old one without an error when an
alarm fires or the new fleet does not start, and the endpoint then looks as healthy as before.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from deployer.aws.metrics import CloudWatch, Logs
from deployer.aws.sagemaker import SageMaker
from deployer.aws.session import Aws
from deployer.aws.upload import PART_BYTES
from deployer.deployments.aws.polling import Polling
from deployer.deployments.plan import Plan, Step
from deployer.deployments.sagemaker import (
    destroy,
    diagnose,
    observe,
    permissions,
    planner,
    requests,
)
from deployer.deployments.sagemaker.actions import Actions
from deployer.deployments.sagemaker.nouns import SageMakerDeployed
from deployer.deployments.sagemaker.observe import Endpoint
from deployer.deployments.sagemaker.waiting import Watch, eventually
from deployer.errors import AwsRefusal, ConditionFailed, DeployerError, PartialFailure
from deployer.progress import Say
from deployer.spec.naming import PREVIOUS_TAG
from deployer.spec.resolved import Resolved

LOG_LINES = 50
COLLECTED = ("endpoint config", "model", "bundle")
"""What is removed only when a look at its time says again that nothing uses it."""


class Executor:
    """Runs one plan."""

    def __init__(
        self,
        aws: Aws,
        plan: Plan[Resolved],
        *,
        polling: Polling,
        say: Say,
        part_bytes: int = PART_BYTES,
    ) -> None:
        self._aws, self._plan, self._polling, self._say = aws, plan, polling, say
        self._resolved = plan.resolved
        self._actions = Actions(aws, plan.resolved, polling, say, part_bytes=part_bytes)
        self._sagemaker = SageMaker(aws)
        self._warnings: list[str] = []
        self._again = 0
        self._found_unused: frozenset[tuple[str, str]] | None = None

    def run(self) -> SageMakerDeployed:
        """Run every step that changes something and return what runs then."""
        began = self._polling.clock()
        changes = self._plan.changes
        for number, step in enumerate(changes, 1):
            self._say(f"[{number}/{len(changes)}] {step.action} {step.kind} {step.name}")
            self._do(step)
        self._look_again()
        resolved = self._resolved
        return SageMakerDeployed(
            name=resolved.spec.name,
            kind=resolved.spec.target.kind,
            region=resolved.place.region,
            account=resolved.place.account,
            endpoint=resolved.endpoint_name,
            config=resolved.config_name,
            model=resolved.model_name,
            bundle_digest=resolved.artifact.digest,
            seconds=round(self._polling.clock() - began, 1),
            changed=len(changes) + self._again,
            warnings=tuple(self._warnings),
        )

    def _look_again(self) -> None:
        """Make sure of an endpoint that the plan leaves alone: what it was made from may have been stale."""
        kept = [s for s in self._plan.steps if s.kind == "endpoint" and s.action == "keep"]
        if not kept:
            return
        found = observe.surely(self._aws, kept[0].name, sleep=self._polling.sleep)
        if (
            found is None
            or found.config != self._resolved.config_name
            or found.status != "InService"
        ):
            words = f"it runs {found.config}, {found.status}" if found is not None else "it is gone"
            self._say(f"endpoint {kept[0].name} is not as it was planned with: {words}")
            self._endpoint()
            self._again += 1

    def _unused(self) -> frozenset[tuple[str, str]]:
        """Return kind and name of what nothing uses as it is now, whatever the plan was made from."""
        if self._found_unused is None:
            seen = observe.observe(self._aws, self._resolved, sleep=self._polling.sleep)
            kept = planner.kept_configs(self._resolved, seen)
            steps = planner.collect(seen, kept, self._resolved)
            self._found_unused = frozenset((step.kind, step.name) for step in steps)
        return self._found_unused

    def _do(self, step: Step) -> None:
        if step.action == "delete":
            if step.kind in COLLECTED and (step.kind, step.name) not in self._unused():
                self._say(f"{step.kind} {step.name} stays: it is in use, or gone already")
                return
            self._actions.remove(step.kind, step.name)
            return
        actions: dict[str, Callable[[], None]] = {
            "role": self._actions.role,
            "bucket": self._actions.bucket,
            "bundle": self._actions.bundle,
            "model": self._actions.model,
            "endpoint config": self._actions.config,
            "endpoint": self._endpoint,
            "alarm": lambda: self._actions.alarm(step.name),
            "scaling target": self._actions.target,
            "scaling policy": lambda: self._actions.policy(step.name),
            "schedule": lambda: self._actions.schedule(step.name),
            "tags": self._actions.tags,
        }
        actions[step.kind]()

    def _endpoint(self) -> None:
        """Bring the endpoint to the new config, whatever it is doing now."""
        name = self._resolved.endpoint_name
        found = self._watch().settled()
        if found is not None and found.status == "Failed":
            self._say(f"endpoint {name} has failed: it is removed first")
            self._sagemaker.delete_endpoint(name)
            self._watch().gone()
            found = None
        if found is None:
            self._create()
        elif found.config != self._resolved.config_name:
            self._update(found)
        elif found.status != "InService":
            raise self._stuck(found)

    def _create(self) -> None:
        watch = self._watch()
        request = requests.create_endpoint(self._resolved)
        self._asked(lambda: self._sagemaker.create_endpoint(request))
        found = watch.created()
        if found is None:
            raise DeployerError(
                f"endpoint {self._resolved.endpoint_name!r} was accepted and never appeared",
                hint="run the same command again",
            )
        if found.config != self._resolved.config_name:
            self._update(found)  # one that an earlier run had asked for
        elif found.status != "InService":
            self._failed(found)

    def _failed(self, found: Endpoint) -> None:
        """Say why a new endpoint did not come up and remove everything but its log."""
        words, hint = diagnose.cause(found.reason, self._last_lines())
        self._say(f"endpoint {found.name} is {found.status}: removing what was made")
        name = self._resolved.spec.name
        kept = destroy.keep_log(self._aws, name, self._resolved.tags)
        destroy.destroy(
            self._aws,
            name,
            bucket=self._resolved.artifact.bucket,
            polling=self._polling,
            say=self._say,
            keep_logs=True,
        )
        what = "but for its log, which `deployer destroy` removes" if kept else "it wrote no log"
        raise DeployerError(
            f"endpoint {found.name!r} did not start: {words}; what was made is removed, {what}",
            hint=hint,
        )

    def _update(self, before: Endpoint) -> None:
        wanted = self._resolved.config_name
        way_back = f"{before.config} {before.previous}".strip()
        if before.tags.get(PREVIOUS_TAG) != way_back:
            self._sagemaker.set_tags(before.arn, {PREVIOUS_TAG: way_back})
        began = datetime.now(UTC)
        watch = self._watch()
        request = requests.update_endpoint(self._resolved)
        started = self._asked(lambda: self._sagemaker.update_endpoint(request))
        if not started:
            self._say(f"endpoint {before.name} is busy already: waiting for it")
        found = watch.updated(before, wanted)
        if found is not None and found.config != wanted and not started:
            raise PartialFailure(
                f"endpoint {before.name!r} took another update meanwhile and runs {found.config}",
                remaining=[f"endpoint config {wanted}"],
                hint="run the same command again",
            )
        if found is None or found.status not in ("InService", "Updating"):
            raise self._stuck(found or before)
        if found.config != wanted:
            self._rolled_back(before, found)
        self._say(f"endpoint {found.name} runs {wanted} (verified)")
        self._tell_traffic(began)

    def _asked(self, call: Callable[[], bool]) -> bool:
        """Ask for an endpoint with the new config. A model or config that the plan took for there is made."""

        def attempt() -> bool:
            try:
                return call()
            except AwsRefusal as error:
                if "could not find" in error.message.lower():
                    self._actions.model()
                    self._actions.config()
                raise

        return eventually(attempt, ("could not find",), self._polling)

    def _rolled_back(self, before: Endpoint, found: Endpoint) -> None:
        """Remove the version that did not hold, and say why."""
        firing = [
            str(row["AlarmName"])
            for row in CloudWatch(self._aws).named_alarms(self._resolved.rollback_alarms)
            if row.get("StateValue") == "ALARM"
        ]
        words, hint = diagnose.cause(found.reason, self._last_lines())
        if firing:
            words, hint = f"alarm {', '.join(firing)} fired", "look at the alarm's metric"
        seen = observe.observe(self._aws, self._resolved, sleep=self._polling.sleep)
        kept = frozenset({found.config, before.previous})
        for step in planner.collect(seen, kept, None):
            self._actions.remove(step.kind, step.name)
        raise ConditionFailed(
            f"endpoint {found.name!r} rolled back: it serves with {found.config}, not with "
            f"{self._resolved.config_name}: {words}; the new model and config are removed",
            hint=hint,
        )

    def _stuck(self, found: Endpoint) -> PartialFailure:
        words, hint = diagnose.cause(found.reason, self._last_lines())
        return PartialFailure(
            f"endpoint {found.name!r} is {found.status}: {words}",
            remaining=[f"endpoint {found.name} ({found.status})"],
            hint=hint,
        )

    def _tell_traffic(self, since: datetime) -> None:
        """Say so when no request met the new version while it was watched: the alarms proved nothing."""
        if not self._resolved.rollback_alarms:
            return
        if not observe.invocations(self._aws, self._resolved.endpoint_name, since):
            self._warnings.append(
                "no request was seen during the rollout: its alarms had nothing to judge"
            )

    def _last_lines(self) -> tuple[str, ...]:
        logs = Logs(self._aws)
        group = permissions.log_group(self._resolved.spec.name, self._resolved.spec.target)
        lines: list[str] = []
        for stream in logs.streams(group):
            lines += logs.tail(group, stream, LOG_LINES)
        for line in lines[-10:]:
            self._say(f"  log: {line}")
        return tuple(lines)

    def _watch(self) -> Watch:
        return Watch(self._aws, self._resolved.endpoint_name, self._polling, self._say)
