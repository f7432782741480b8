"""The files of a folder that a user gives: strays left out, credentials refused.

A bundle goes to S3 and into images, so what lies in a folder by accident must not travel with the model.
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from pathlib import Path

from deployer.bundle.disk import DiskFile, files_in, reading
from deployer.errors import InputError

STRAYS = (
    *(".git", ".gitignore", ".gitattributes", ".gitmodules", ".hg", ".svn"),
    *("__pycache__", "*.pyc", "*.pyo", ".venv", ".tox", ".nox", "node_modules", ".cache"),
    *(".mypy_cache", ".pytest_cache", ".ruff_cache", ".ipynb_checkpoints", ".idea", ".vscode"),
    *(".env", ".env.*", ".envrc", ".DS_Store", "._*", "Thumbs.db", "desktop.ini", "*.swp", "*~"),
)
"""Names of files and folders that no model needs; ``*`` stands for anything."""
_SECRET_FOLDERS = (".aws", ".ssh", ".gnupg", ".kube", ".docker", ".azure")
_SECRET_NAMES = (
    *(".netrc", "_netrc", ".pypirc", ".npmrc", ".git-credentials", ".pgpass", ".boto"),
    *("id_rsa", "id_dsa", "id_ecdsa", "id_ed25519", "*.pem", "*.ppk", "*.p12", "*.pfx", "*.jks"),
)
_HINT = (
    "take it out, and let the code ask its environment or role; "
    "a file that is no secret goes in by its own name: --extra FILE"
)
_LOOKED_AT = 1 << 16
_SECRETS = {
    "an AWS access key": rb"(?<![0-9A-Za-z])(AKIA|ASIA)[0-9A-Z]{16}(?![0-9A-Za-z])",
    "an AWS secret key": (
        rb"(?i)(aws_secret_access_key|secretaccesskey)[\"']?\s*[=:]\s*[\"']?[0-9a-z/+]{16}"
    ),
    "a private key": rb"-----BEGIN ([A-Z0-9]+ )*PRIVATE KEY-----",
    "a token of Hugging Face": rb"(?<![0-9A-Za-z_])hf_[0-9A-Za-z]{30}",
    "a token of GitHub": rb"(?<![0-9A-Za-z_])(gh[oprsu]_[0-9A-Za-z]{36}|github_pat_[0-9A-Za-z_]{40})",
}
_PATTERNS = {what: re.compile(pattern) for what, pattern in _SECRETS.items()}


def given_files(folder: Path) -> list[DiskFile]:
    """Return every file below ``folder`` but strays, sorted by name.

    Raises InputError naming a link, what is neither file nor folder, and what looks like a credential.
    """
    files = files_in(folder, without=is_stray)
    for file in files:
        check_no_credential(file)
    return files


def is_stray(name: str) -> bool:
    """Return whether a file or folder of this name is no part of a model."""
    return _like(name, STRAYS)


def check_no_credential(file: DiskFile, hint: str = _HINT) -> None:
    """Raise InputError when a file's name or its first 64 KiB look like a credential."""
    problem = _by_name(file) or _by_content(file)
    if problem is not None:
        raise InputError(
            f"{str(file)!r} looks like a credential: {problem}",
            hint=hint,
        )


def _by_name(file: DiskFile) -> str | None:
    *folders, name = file.name.lower().split("/")
    for folder in folders:
        if folder in _SECRET_FOLDERS:
            return f"it lies in {folder!r}"
    return "its name is one of theirs" if _like(name, _SECRET_NAMES) else None


def _by_content(file: DiskFile) -> str | None:
    with file.open() as stream, reading(str(file)):
        start = stream.read(_LOOKED_AT)
    return next((f"it holds {what}" for what, p in _PATTERNS.items() if p.search(start)), None)


def _like(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
