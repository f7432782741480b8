"""The modules that lie beside a handler and that it imports, followed without running them.

A module goes in alone, a package whole, with the data in it. What a statement needs and nobody brings is refused by
the name of the missing file, here and not at the start of an endpoint.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

from deployer.bundle.disk import DiskFile, file_below
from deployer.bundle.given import check_no_credential, given_files
from deployer.bundle.imports import Code, Import, read_code
from deployer.bundle.provided import SERVING_CODE, Provided, clash, is_serving_code
from deployer.errors import InputError

_SUFFIXES = (".py", *EXTENSION_SUFFIXES)


class Beside:
    """What a handler needs of its own folder: ``files`` by path relative to it, once ``follow`` has run."""

    def __init__(self, handler: DiskFile, provided: Provided) -> None:
        path = Path(str(handler))
        self._root, self._handler = path.parent, path.name
        self._provided = provided
        self._read: dict[str, Code] = {}
        self._unfound: list[tuple[str, str]] = []
        self.files: dict[str, DiskFile] = {}

    def follow(self) -> None:
        """Read the handler and all that it reaches.

        Raises InputError naming a file that is missing, a name that clashes, a link, a credential.
        """
        self._reach(self._handler, ())
        for importer, top in self._unfound:
            # Where code changes sys.path, only the start can tell.
            if not any(code.finds_paths for code in self._read.values()):
                raise self._missing(importer, top, (top,))

    def _reach(self, name: str, package: tuple[str, ...]) -> None:
        """Read one file, ``package`` being the one that it lies in, and what it imports."""
        if name in self._read or not name.endswith(".py"):
            return
        file = file_below(self._root, name)
        check_no_credential(file, hint="let the code ask its environment or role for it")
        code = self._read[name] = read_code(file)
        for each in code.imports:
            for module, names in self._absolute(name, package, each):
                self._resolve(name, module, names, each)

    def _absolute(
        self, name: str, package: tuple[str, ...], each: Import
    ) -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
        """Yield the module of a statement as parts from the handler's folder, and the names taken of it."""
        module = tuple(each.module.split(".")) if each.module else ()
        if not each.level:
            yield module, each.names
        elif each.level <= len(package):
            yield (*package[: len(package) - each.level + 1], *module), each.names
        elif each.needed:
            written = f"from {'.' * each.level}{each.module} import {', '.join(each.names)}"
            raise InputError(
                f"{str(self._root / name)!r} has {written!r}, and lies in no such package",
                hint=f"name the module from the handler's folder: import {each.module or each.names[0]}",
            )

    def _resolve(
        self, importer: str, module: tuple[str, ...], names: tuple[str, ...], each: Import
    ) -> None:
        top, needed = module[0], each.needed
        if not self._is_ours(importer, top):
            # A helper's function may never run; those of the handler do.
            asked = needed and (not each.late or importer == self._handler)
            if asked and not self._provided.has(top):
                self._unfound.append((importer, top))
            return
        self._take(top)
        for depth in range(1, len(module) + 1):
            if not self._enter(module[:depth]):
                if needed:
                    raise self._missing(importer, ".".join(module), module[:depth])
                return
        for name in names:
            if not self._enter((*module, name)) and needed and not self._binds(module, name):
                raise self._missing(importer, ".".join((*module, name)), (*module, name))

    def _is_ours(self, importer: str, top: str) -> bool:
        """Return whether the import ``top`` means a file here. Raises InputError when its name is taken."""
        folder = self._root / top
        if top == SERVING_CODE and is_serving_code(folder):
            return False
        if f"{top}.py" == self._handler == "inference.py":
            return False  # the handler, by the name that it keeps
        if not self._module_file((top,)) and not (folder / "__init__.py").is_file():
            # A folder without __init__.py gives way to any package, as on Python's own path.
            return any(folder.glob("*.py")) and not self._provided.is_installed(top)
        taken = clash(top)
        if taken is not None:
            raise InputError(
                f"{str(self._root / importer)!r} imports {top!r} from beside it, which is {taken}",
                hint="give your module another name",
            )
        return True

    def _module_file(self, parts: tuple[str, ...]) -> str | None:
        base = "/".join(parts)
        names = (f"{base}{suffix}" for suffix in _SUFFIXES)
        return next((name for name in names if (self._root / name).exists()), None)

    def _is_package(self, base: str) -> bool:
        folder = self._root / base
        if (folder / "__init__.py").exists():
            return True
        return folder.is_dir() and self._module_file(tuple(base.split("/"))) is None

    def _take(self, top: str) -> None:
        """Put a module, or all files of a package, among ``files``."""
        if self._is_package(top):
            for file in given_files(self._root / top):
                self.files[f"{top}/{file.name}"] = file
        elif (name := self._module_file((top,))) is not None:
            self.files[name] = file_below(self._root, name)

    def _enter(self, parts: tuple[str, ...]) -> bool:
        """Read the package or module ``parts``; return whether there is one."""
        base = "/".join(parts)
        if self._is_package(base):
            if (self._root / base / "__init__.py").exists():
                self._reach(f"{base}/__init__.py", parts)
            return True
        name = self._module_file(parts)
        if name is not None:
            self._reach(name, parts[:-1])
        return name is not None

    def _binds(self, module: tuple[str, ...], name: str) -> bool:
        """Return whether a module that is no folder, or a package's own code, may have ``name``."""
        base = "/".join(module)
        if not self._is_package(base):
            return True  # the start tells what a module lacks; here files are looked for
        code = self._read.get(f"{base}/__init__.py")
        known = code.names if code else frozenset()
        return known is None or name == "*" or name in known

    def _missing(self, importer: str, what: str, parts: tuple[str, ...]) -> InputError:
        base = "/".join(parts)
        return InputError(
            f"{str(self._root / importer)!r} imports {what!r}, and there is no {base}.py or {base}/ "
            "beside the handler",
            hint="put the missing file there; if a package of another name brings it, "
            "name that package in --requirements",
        )
