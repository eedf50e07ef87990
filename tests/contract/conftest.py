"""Every PostgreSQL server found on this machine, and databases in them."""

import os
import pwd
import shutil
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from fix_postgres import PostgresServer, short_directory

_numbers = count(1)


@pytest.fixture(scope="session", params=["embedded", "system"])
def server(request: pytest.FixtureRequest, postgres_server: PostgresServer) -> Iterator[PostgresServer]:
    if request.param == "embedded":
        yield postgres_server
        return
    binaries = sorted(Path("/usr/lib/postgresql").glob("1[4-8]/bin"))
    if not binaries:
        pytest.skip("no PostgreSQL server package of the system: nothing in /usr/lib/postgresql")
    root = short_directory()
    user = "nobody" if os.geteuid() == 0 else None
    if user:
        os.chown(root, pwd.getpwnam(user).pw_uid, -1)
    system = PostgresServer(binaries[0], root, user, {"fsync": "off"})
    system.make()
    system.start()
    yield system
    system.stop("immediate")
    shutil.rmtree(root, ignore_errors=True)


@pytest.fixture
def database(server: PostgresServer) -> Iterator[str]:
    name = f"contract_{os.getpid()}_{next(_numbers)}"
    server.sql(f"CREATE DATABASE {name}")
    yield name
    server.sql(f"DROP DATABASE {name} WITH (FORCE)")
