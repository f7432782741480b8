"""The one tree of exceptions.

DeployerError                exit 2: could not do it
├── InputError               a file or value given by the user is wrong
│   └── SpecError            a key of a specification is wrong; ``key`` names it
│       └── RuleBroken       exit 1: a specification breaks a rule; ``code`` is the rule's id
├── EnvironmentProblem       the machine lacks something (a package, a port, a folder)
│   ├── Unreachable          nothing took the connection: the request was not sent
│   └── AwsRefusal           AWS refused a call; ``code`` is its word for why
├── UnknownPrice             the price book holds no such price, or more than one
├── NotSupported             asked for by name, not there yet
├── ConditionFailed          exit 1: a gate, an objective or a budget does not hold
├── PartialFailure           exit 3: something is left behind, and listed
└── Interrupted              exit 130: stopped by the user, state saved
"""

from __future__ import annotations

from collections.abc import Sequence


class DeployerError(Exception):
    """What failed and why (``message``), and what to do next (``hint``)."""

    exit_code = 2

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class InputError(DeployerError):
    """A file or a value given by the user is wrong."""


class SpecError(InputError):
    """A key of a specification is wrong.

    ``code`` is ``key`` for one that is unknown, missing or of another type, ``value`` for a value out of its range.
    """

    def __init__(
        self, key: str, problem: str, *, hint: str | None = None, code: str = "value"
    ) -> None:
        super().__init__(f"{key}: {problem}", hint=hint)
        self.key = key
        self.problem = problem
        self.code = code


class RuleBroken(SpecError):
    """A specification breaks a rule of AWS or of deployer: ``code`` is the rule's id.

    ``broken`` lists the ids of all rules that it breaks, that of ``code`` first.
    """

    exit_code = 1

    def __init__(
        self,
        key: str,
        problem: str,
        *,
        code: str,
        broken: Sequence[str] = (),
        hint: str | None = None,
    ) -> None:
        super().__init__(key, problem, hint=hint, code=code)
        self.broken = tuple(broken) or (code,)


class EnvironmentProblem(DeployerError):
    """The machine lacks something: a package, a free port, a writable folder."""


class Unreachable(EnvironmentProblem):
    """Nothing took the connection, so the request was not sent and may go elsewhere."""


class UnknownPrice(DeployerError):
    """The price book does not hold exactly one price for a key."""


class NotSupported(DeployerError):
    """Asked for by name and not there yet."""


class AwsRefusal(EnvironmentProblem):
    """AWS refused a call; ``code`` is AWS's word for why."""

    def __init__(self, message: str, *, code: str, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.code = code


class ConditionFailed(DeployerError):
    """A stated condition does not hold: a gate, an objective, a budget."""

    exit_code = 1


class PartialFailure(DeployerError):
    """Something is left behind; ``remaining`` lists it."""

    exit_code = 3

    def __init__(
        self, message: str, *, remaining: Sequence[str] = (), hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.remaining = tuple(remaining)


class Interrupted(DeployerError):
    """Stopped by the user; what was done is saved."""

    exit_code = 130
