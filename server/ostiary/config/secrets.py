"""Secrets: where they may come from, and how what holds them is printed.

A secret never stands in the configuration file: there it is a reference, or a URL
without a password in it. Error messages name the reference and never the value.
"""

import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated
from urllib.parse import parse_qsl, unquote, urlsplit

from pydantic import AfterValidator, SecretStr

ENV = "env:"
FILE = "file:"

_URL = re.compile(r"(postgres(?:ql)?://)(\S*)", re.IGNORECASE)
_HOSTS = re.compile(r"(?:[\w.-]*|\[[0-9a-f:.]+\])(?::\d+)?(?:,(?:[\w.-]*|\[[0-9a-f:.]+\])(?::\d+)?)*(?:/[^?\s]*)?", re.IGNORECASE)
_PAIR = re.compile(r"\b((?:ssl)?password\s*=\s*)('[^']*'|\"[^\"]*\"|\S+)", re.IGNORECASE)
_KEY_CHARS = 32


def is_reference(value: str) -> bool:
    """Whether the value says where the secret is rather than what it is."""
    return value.startswith((ENV, FILE))


def revealed(reference: str, environ: Mapping[str, str], folder: Path) -> str:
    """What `env:NAME` or `file:path` refers to, without the line's end.

    A relative path is taken from `folder`. Raises ValueError with a message fit for print.
    """
    if reference.startswith(ENV):
        name = reference.removeprefix(ENV)
        if not environ.get(name):
            raise ValueError(f"environment variable `{name}` is not set; set it, or refer to a file with `file:/path`")
        return environ[name]
    return _private_text(folder / Path(reference.removeprefix(FILE)).expanduser())


def _private_text(path: Path) -> str:
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            raise ValueError(f"`{path}` is no regular file; refer to a file that holds the secret alone")
        if mode & 0o077:
            raise ValueError(f"`{path}` can be read by others (mode {stat.S_IMODE(mode):04o}); run `chmod 600 {path}`")
        text = path.read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as failure:
        raise ValueError(
            f"cannot read `{path}`: {(failure.strerror or 'failed').lower()}; make it readable for this user"
        ) from None
    except UnicodeDecodeError:
        # The decoder's own message would quote bytes of the secret.
        raise ValueError(f"`{path}` is not UTF-8 text; write the secret as text") from None
    if not text:
        raise ValueError(f"`{path}` is empty; write the secret into it")
    return text


def checked_dsn(dsn: str) -> None:
    """Raises ValueError unless `dsn` is a PostgreSQL URL; the message does not quote it."""
    if not re.match(r"postgres(ql)?://", dsn):
        raise ValueError("must be a URL such as `postgresql://user@host:5432/database`")
    try:
        parts = urlsplit(dsn)
        query = dict(parse_qsl(parts.query))
    except ValueError:
        raise ValueError("is no valid URL; percent-encode special characters of user and password") from None
    hosts = parts.netloc.rpartition("@")[2].split(",")
    ports = [*(host.rpartition("]")[2].partition(":")[2] for host in hosts), *query.get("port", "").split(",")]
    if not all(port == "" or (port.isascii() and port.isdigit()) for port in ports):
        raise ValueError("has a port that is no number; percent-encode special characters of user and password")


def has_password(dsn: str) -> bool:
    """Whether a password stands in the URL itself. What cannot be taken apart counts as yes."""
    try:
        parts = urlsplit(dsn)
        query = parse_qsl(parts.query)
    except ValueError:
        return True
    user = parts.netloc.rpartition("@")[0]
    return ":" in user or "@" in parts.path + parts.query or any(name in ("password", "sslpassword") for name, _ in query)


def same_database(one: str, other: str) -> bool:
    """Whether two URLs name the same database on a common host, as far as their text tells."""
    hosts, name = _whereabouts(one)
    other_hosts, other_name = _whereabouts(other)
    return name == other_name and not hosts.isdisjoint(other_hosts)


def same_login(one: str, other: str) -> bool:
    """Whether two URLs name the same role of the same database, as far as their text tells."""
    return same_database(one, other) and _role(one) == _role(other)


def _role(dsn: str) -> str:
    parts = urlsplit(dsn)
    return unquote(parts.username or dict(parse_qsl(parts.query)).get("user", ""))


def _whereabouts(dsn: str) -> tuple[frozenset[str], str]:
    parts = urlsplit(dsn)
    query = dict(parse_qsl(parts.query))
    hosts = (parts.netloc.rpartition("@")[2] or query.get("host", "")).lower().split(",")
    return frozenset(host if re.search(r":\d+$", host) else f"{host}:5432" for host in hosts), parts.path.strip("/") or query.get(
        "dbname", ""
    )


def redacted(text: str) -> str:
    """`text` with the password and query of every PostgreSQL URL, and the value of every `password=`, taken out."""
    return _PAIR.sub(r"\1***", _URL.sub(lambda match: match[1] + _without_password(match[2]), text))


def _without_password(rest: str) -> str:
    """All after `//`. A password may hold any character, so the last `@` ends it and what is not clearly a host is dropped."""
    user, at, hosts = rest.rpartition("@")
    clean = _HOSTS.match(hosts)
    shown = clean[0] if clean else ""
    tail = hosts[len(shown) :]
    if not at and tail[:1] not in ("", "?"):
        return "***"
    name, colon, _ = user.partition(":")
    return f"{name}{':***' if colon else ''}{at}{shown}"


class KeyText(SecretStr):
    """A key: nothing of it is fit for print, whatever it looks like."""


class KeyLines(KeyText):
    """Keys, a line each."""


def _long_keys(secret: KeyLines) -> KeyLines:
    keys = secret.get_secret_value().split()
    if not keys or min(map(len, keys)) < _KEY_CHARS or len(set(keys)) < len(keys):
        raise ValueError(
            f"must be different keys of at least {_KEY_CHARS} characters, a line each; `openssl rand -hex 32` makes one"
        )
    return secret


Keys = Annotated[KeyLines, AfterValidator(_long_keys)]


def _long_key(secret: KeyText) -> KeyText:
    if len(secret.get_secret_value()) < _KEY_CHARS:
        raise ValueError(f"must have at least {_KEY_CHARS} characters; `openssl rand -hex 32` makes one")
    return secret


Key = Annotated[KeyText, AfterValidator(_long_key)]


def _bearable(secret: KeyText) -> KeyText:
    # In a header a line's end would begin another.
    if not re.fullmatch(r"[!-~]{1,4096}", secret.get_secret_value()):
        raise ValueError("must be printable ASCII without blanks, as in `Authorization: Bearer …`")
    return secret


BearerKey = Annotated[KeyText, AfterValidator(_bearable)]


def _postgres_url(secret: SecretStr) -> SecretStr:
    checked_dsn(secret.get_secret_value())
    return secret


Dsn = Annotated[SecretStr, AfterValidator(_postgres_url)]
