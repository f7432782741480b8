"""One ``requirements.txt`` from the serving code's and the handler's own."""

from __future__ import annotations

import re

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from deployer.errors import InputError

_CONTINUED = re.compile(r"\\\r?\n")
_COMMENT = re.compile(r"(^|\s)#.*$")
_HASH = re.compile(r"\s+(?=--hash=)")
_INDEX = re.compile(r"(--index-url|--extra-index-url|--find-links)[ =]\s*(https://\S+)")


def merge(*texts: tuple[str, str]) -> str:
    """Return the union of requirement files, each given as its name and its text: one line each, sorted.

    Raises InputError naming a line that pip could not follow inside the image, and a package that is pinned
    to two versions.
    """
    options: set[str] = set()
    wanted: set[tuple[str, str]] = set()
    pinned: dict[str, tuple[str, str]] = {}
    for source, text in texts:
        for line in _lines(text):
            option = _INDEX.fullmatch(line)
            if option is not None:
                options.add(f"{option[1]} {option[2]}")
                continue
            requirement, *hashes = _HASH.split(line)
            parsed = _requirement(source, requirement)
            package = canonicalize_name(parsed.name)
            _check_pin(pinned, package, parsed, source)
            wanted.add((package, " ".join([str(parsed), *sorted(hashes)])))
    return "".join(
        f"{line}\n" for line in (*sorted(options), *(line for _, line in sorted(wanted)))
    )


def _lines(text: str) -> list[str]:
    joined = _CONTINUED.sub(" ", text.removeprefix("\ufeff"))
    stripped = (_COMMENT.sub("", line).strip() for line in joined.splitlines())
    return [line for line in stripped if line]


def _requirement(source: str, line: str) -> Requirement:
    try:
        parsed = Requirement(line)
    except InvalidRequirement:
        parsed = None
    if parsed is None or (parsed.url or "").startswith("file:"):
        raise InputError(
            f"{source}: cannot be installed inside the image: {line!r}",
            hint="write packages by name and version (numpy==2.1.0); copy files in with --extra",
        )
    return parsed


def _check_pin(
    pinned: dict[str, tuple[str, str]], package: str, requirement: Requirement, source: str
) -> None:
    """Refuse a second, different ``==`` for every platform; other conflicts are pip's to find."""
    pins = [each.version for each in requirement.specifier if each.operator == "=="]
    if not pins or requirement.marker is not None:
        return
    version, where = pinned.setdefault(package, (pins[0], source))
    if version != pins[0]:
        raise InputError(
            f"{package} is pinned to {version!r} in {where} and to {pins[0]!r} in {source}",
            hint="leave the package out of your requirements, or pin it to the same version",
        )
