"""A DSN as environment of PostgreSQL's programs, so that nothing of it stands in their arguments."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from ostiary_tools.errors import Unavailable

_NAMES = {
    "host": "PGHOST",
    "port": "PGPORT",
    "user": "PGUSER",
    "password": "PGPASSWORD",
    "dbname": "PGDATABASE",
    "database": "PGDATABASE",
    "passfile": "PGPASSFILE",
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
    "sslcrl": "PGSSLCRL",
    "ssl_min_protocol_version": "PGSSLMINPROTOCOLVERSION",
    "ssl_max_protocol_version": "PGSSLMAXPROTOCOLVERSION",
    "target_session_attrs": "PGTARGETSESSIONATTRS",
    "krbsrvname": "PGKRBSRVNAME",
    "gsslib": "PGGSSLIB",
    "service": "PGSERVICE",
    "servicefile": "PGSERVICEFILE",
    "application_name": "PGAPPNAME",
}
"""What a DSN says that is no setting of the session."""
_SOCKETS = ("/run/postgresql", "/var/run/postgresql", "/var/pgsql_socket", "/private/tmp", "/tmp")  # noqa: S108 where servers have them
"""Where asyncpg looks for a server when a DSN names none; libpq looks where its packager thought right."""
_TLS = frozenset({"require", "verify-ca", "verify-full"})


@dataclass(frozen=True, slots=True)
class Login:
    """Who logs in where."""

    environment: Mapping[str, str]
    secrets: tuple[str, ...]
    """What no message may repeat."""

    @property
    def needs_tls(self) -> bool:
        """Whether the DSN asks for it."""
        return self.environment.get("PGSSLMODE") in _TLS

    def to(self, database: str) -> "Login":
        """The same to another database of the server."""
        return Login({**self.environment, "PGDATABASE": database}, self.secrets)


def login(dsn: str) -> Login:
    """What a DSN says. Blocking: looks for sockets where it names no host. Raises Unavailable."""
    try:
        parts = urlsplit(dsn)
        asked = parse_qsl(parts.query, keep_blank_values=True)
    except ValueError:
        raise Unavailable("the DSN of the datasource cannot be read", "it looks like `postgresql://user@host/database`") from None
    if parts.scheme not in {"postgres", "postgresql"}:
        raise Unavailable("the DSN of the datasource is none of PostgreSQL", "it looks like `postgresql://user@host/database`")
    found = {**_places(parts.netloc), "PGDATABASE": unquote(parts.path.removeprefix("/"))}
    found |= {_NAMES[name]: value for name, value in asked if name in _NAMES}
    environment = {name: value for name, value in found.items() if value}
    if "PGHOST" not in environment and "PGSERVICE" not in environment:
        environment["PGHOST"] = _default_host(environment.get("PGPORT", "5432"))
    environment.setdefault("PGCONNECT_TIMEOUT", "30")
    secret = environment.get("PGPASSWORD")
    return Login(environment, (secret,) if secret else ())


def _places(netloc: str) -> Mapping[str, str]:
    """Who and where: `user:password@host:port,host:port`."""
    who, _, where = netloc.rpartition("@")
    user, _, password = who.partition(":")
    hosts, ports = [], []
    for place in filter(None, where.split(",")):
        bracketed, closed, rest = place.partition("]")
        host, _, port = (bracketed.removeprefix("["), "", rest.removeprefix(":")) if closed else place.partition(":")
        hosts.append(unquote(host))
        ports.append(port or "5432")
    return {
        "PGUSER": unquote(user),
        "PGPASSWORD": unquote(password),
        "PGHOST": ",".join(hosts),
        "PGPORT": ",".join(ports),
    }


def _default_host(port: str) -> str:
    return next((folder for folder in _SOCKETS if (Path(folder) / f".s.PGSQL.{port}").exists()), "localhost")
