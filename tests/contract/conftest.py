"""Every PostgreSQL server found on this machine, and databases in them."""

import os
from collections.abc import Iterator
from itertools import count

import pytest
from fix_postgres import PostgresServer

_numbers = count(1)


EITHER = [pytest.param("postgres_server", id="embedded"), pytest.param("system_server", id="system", marks=pytest.mark.slow)]
"""Every contract holds for both; the older version's is held by the slow tests."""


@pytest.fixture(scope="session", params=EITHER)
def server(request: pytest.FixtureRequest) -> PostgresServer:
    found: PostgresServer = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def database(server: PostgresServer) -> Iterator[str]:
    name = f"contract_{os.getpid()}_{next(_numbers)}"
    server.sql(f"CREATE DATABASE {name}")
    yield name
    server.sql(f"DROP DATABASE {name} WITH (FORCE)")
