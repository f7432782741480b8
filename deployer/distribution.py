"""Our own distribution as it is installed here: its version, what its extras need, and what installs one more.

No index holds its name yet, and the ``deployer`` of the public index is a stranger's. So a hint repeats where this
installation came from, as ``direct_url.json`` tells (PEP 610), or it names the packages that are missing. It never
leaves an index to decide what our name means.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from deployer.errors import EnvironmentProblem

if (
    TYPE_CHECKING
):  # importlib.metadata costs a third of the import of deployer, so only who asks pays
    from importlib.metadata import Distribution

    from packaging.requirements import Requirement

NAME = "deployer-ml"
"""What the distribution is called; the package and the command are called ``deployer``."""

_ORIGIN = "direct_url.json"

CORE = ""
"""In place of an extra: what every installation needs."""


def version() -> str:
    """Return our version. Raises EnvironmentProblem where deployer runs without being installed."""
    return _installed().version


def extras() -> tuple[str, ...]:
    """Return the extras that can be installed. Raises EnvironmentProblem like ``version``."""
    return tuple(_installed().metadata.get_all("Provides-Extra") or ())


def requirements() -> tuple[str, ...]:
    """Return every requirement with its marker. Raises EnvironmentProblem like ``version``."""
    return tuple(_installed().requires or ())


def install_hint(extra: str) -> str:
    """Return the command that installs ``extra`` of this installation, ``CORE`` its core."""
    found = _found()
    if found is None:  # the hint of another error must not fail
        return command(extra, _source(), ())
    origin = found.read_text(_ORIGIN)
    return command(extra, json.loads(origin) if origin else None, found.requires or ())


def command(
    extra: str,
    origin: Mapping[str, Any] | None,
    requires: Iterable[str],
    *,
    exists: Callable[[Path], bool] = Path.exists,
    lacking: Callable[[Requirement], bool] | None = None,
) -> str:
    """Return the command that installs ``extra`` from ``origin``, the content of ``direct_url.json``.

    Without an origin, or where its file is gone, it names those packages of the extra that are ``lacking``; all
    of them when none is. ``exists`` says whether a path is there.
    """
    words = _from_origin(extra, origin, exists) if origin else []
    if not words:
        needed = needs(extra, requires)
        absent = [one for one in needed if (lacking or lacks)(one)] or needed
        words = [_plain(one) for one in absent]
    return shlex.join(["pip", "install", *words])


def _from_origin(
    extra: str, origin: Mapping[str, Any], exists: Callable[[Path], bool]
) -> list[str]:
    """The words after ``pip install``; none when the origin is a path that is gone, or a git folder.

    pip 23.2 and older refuse ``name @ git+file:///...``.
    """
    url = str(origin["url"])
    named = f"[{extra}]" if extra else ""
    path = Path(unquote(urlsplit(url).path)) if url.startswith("file:") else None
    if path is not None and ("vcs_info" in origin or not exists(path)):
        return []
    if path is not None and "dir_info" in origin:
        limits = path / "constraints.txt"
        editable = ["-e"] if origin["dir_info"].get("editable") else []
        return [*(["-c", str(limits)] if exists(limits) else []), *editable, f"{path}{named}"]
    return [f"{NAME}{named} @ {_pinned(url, origin)}"]


def _pinned(url: str, origin: Mapping[str, Any]) -> str:
    """The URL of an archive or of one commit, as a requirement takes it."""
    if "vcs_info" in origin:
        url = f"{origin['vcs_info']['vcs']}+{url}@{origin['vcs_info']['commit_id']}"
    below = origin.get("subdirectory")
    return f"{url}#subdirectory={below}" if below else url


def asks(extra: str, requires: Iterable[str]) -> Iterator[Requirement]:
    """Yield what ``extra`` itself asks for on this machine, our own extras among it."""
    from packaging.requirements import Requirement

    for text in requires:
        one = Requirement(text)
        always = one.marker is None or one.marker.evaluate({"extra": CORE})
        if always == (extra == CORE) and (always or _for(extra, one)):
            yield one


def _for(extra: str, one: Requirement) -> bool:
    return one.marker is not None and one.marker.evaluate({"extra": extra})


def needs(extra: str, requires: Iterable[str]) -> tuple[Requirement, ...]:
    """Return the packages that ``extra`` asks for, through our own extras that it names; each one once."""
    every = tuple(requires)
    found: dict[str, Requirement] = {}
    for one in asks(extra, every):
        inner = (need for name in sorted(one.extras) for need in needs(name, every))
        found |= {_plain(need): need for need in (inner if is_ours(one) else (one,))}
    return tuple(found.values())


def is_ours(one: Requirement) -> bool:
    """Return whether a requirement names this distribution."""
    from packaging.utils import canonicalize_name

    return canonicalize_name(one.name) == NAME


def found_version(package: str) -> str | None:
    """Return the version of ``package`` that is installed, None without one."""
    from importlib import metadata

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def lacks(one: Requirement) -> bool:
    """Return whether the package is not installed, or in a version that will not do."""
    found = found_version(one.name)
    return found is None or not one.specifier.contains(found, prereleases=True)


def _plain(one: Requirement) -> str:
    """A requirement as a command takes it, without its marker."""
    inner = f"[{','.join(sorted(one.extras))}]" if one.extras else ""
    return f"{one.name}{inner}{one.specifier}"


def _installed() -> Distribution:
    found = _found()
    if found is None:
        raise EnvironmentProblem(
            f"deployer runs here without being installed: no package is called {NAME!r}",
            hint=command(CORE, _source(), ()),
        )
    return found


def _found() -> Distribution | None:
    """Our metadata: that with an origin first, for the .egg-info of a clone on the path has none."""
    from importlib import metadata

    found = list(metadata.distributions(name=NAME))
    return next((one for one in found if one.read_text(_ORIGIN)), found[0] if found else None)


def _source() -> dict[str, Any]:
    """The origin that a clone would have which this very module stands in."""
    folder = Path(__file__).resolve().parents[1]
    return {"url": folder.as_uri(), "dir_info": {"editable": True}}
