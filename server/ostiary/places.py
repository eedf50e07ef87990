"""Where things lie on this machine when nobody says otherwise: the XDG base directories.

Names folders and makes none. The environment and the user are arguments.
"""

import pwd
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = 0


@dataclass(frozen=True, slots=True)
class Places:
    """Absolute folders of one user's installation."""

    config: Path
    """Where `ostiary.toml` is looked for."""
    data: Path
    state: Path
    runtime: Path | None
    """The system's folder for this user's sockets, where there is one."""


def places(environ: Mapping[str, str], uid: int) -> Places:
    """The folders of that user."""
    if uid == ROOT:
        # PostgreSQL runs as another user when root starts it, and that user does not reach into root's home.
        data, state = Path("/var/lib/ostiary"), Path("/var/lib/ostiary-state")
    else:
        local = _home(environ, uid) / ".local"
        data, state = local / "share/ostiary", local / "state/ostiary"
    runtime = environ.get("XDG_RUNTIME_DIR", "")
    return Places(
        config=_xdg(environ, "XDG_CONFIG_HOME") or _home(environ, uid) / ".config/ostiary",
        data=_xdg(environ, "XDG_DATA_HOME") or data,
        state=_xdg(environ, "XDG_STATE_HOME") or state,
        runtime=Path(runtime) if runtime.startswith("/") else None,
    )


def _xdg(environ: Mapping[str, str], variable: str) -> Path | None:
    """Our folder in a base directory; one that is not absolute is ignored, as the XDG specification demands."""
    base = environ.get(variable, "")
    return Path(base) / "ostiary" if base.startswith("/") else None


def _home(environ: Mapping[str, str], uid: int) -> Path:
    named = environ.get("HOME", "")
    if named.startswith("/"):
        return Path(named)
    try:
        return Path(pwd.getpwuid(uid).pw_dir)
    except KeyError:  # a container's user without an entry
        return Path("/")
