"""What a database says of one login: what it may read, through whom, and which policies of row security apply to it.

Values only; `datasources.native` reads them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2s

from ostiary_tools.powers import Finding
from ostiary_tools.snapshot import Name

OTHERS = "ostiary_others"
"""The policy by which roles that had rights on a table keep all its rows."""
_PERMITS, _FENCES = "ostiary_rows_", "ostiary_only_"
_LONGEST_NAME = 63
"""Bytes of a name that PostgreSQL keeps."""


@dataclass(frozen=True, slots=True)
class RowPolicy:
    """A policy of row security."""

    name: str
    permissive: bool
    command: str
    """`r` SELECT, `a` INSERT, `w` UPDATE, `d` DELETE, `*` all."""
    roles: tuple[str, ...]
    """Empty names everybody."""
    applies: bool
    """To the login, by its name, as everybody, or through a role."""
    expression: str
    """Of USING, as the server writes it; empty where there is none."""

    @property
    def reads(self) -> bool:
        """Whether it has a say in which rows the login reads."""
        return self.applies and self.command in ("r", "*")


@dataclass(frozen=True, slots=True)
class Grant:
    """One right on a relation or a column, of somebody who is not the owner."""

    column: str
    """Empty for the whole relation."""
    grantee: str
    """Empty for everybody."""
    privilege: str
    grantor: str = ""
    """Who gave it, if not the owner; only he can take it back."""


@dataclass(frozen=True, slots=True)
class Held:
    """One relation."""

    kind: str
    """As `pg_class.relkind` says; sequences are among them."""
    row_security: bool
    invoker: bool
    """A view that reads with the rights of whoever asks."""
    barrier: bool
    """A view whose own conditions are asked before anybody else's."""
    whole: bool
    """The login may read all columns, those of tomorrow included."""
    columns: Mapping[str, bool]
    """Name → whether the login may read it, through whomever."""
    grants: tuple[Grant, ...] = ()
    policies: tuple[RowPolicy, ...] = ()

    @property
    def guarded(self) -> bool:
        """Whether nobody learns by a view what he could not read beneath or is not shown."""
        return self.invoker or self.barrier

    def grantees(self) -> tuple[str, ...]:
        """Everybody else with a right on it or a column of it, sorted; empty stands for everybody."""
        return tuple(sorted({grant.grantee for grant in self.grants}))


@dataclass(frozen=True, slots=True)
class Default:
    """Who makes a table gives it to the login, or to everybody."""

    owner: str
    schema: str
    """Empty for all schemas."""
    everybody: bool


@dataclass(frozen=True, slots=True)
class Facts:
    """All of it, in one transaction."""

    login: str
    exists: bool
    asking: str
    """The login that looked."""
    database: str
    connects: bool
    memberships: tuple[tuple[str, str], ...]
    """Roles that the login was made a member of, and by whom; empty where he is gone."""
    usable: frozenset[str]
    """Schemas that the login may use."""
    own_schemas: frozenset[str]
    """Schemas with a right granted to the login itself."""
    defaults: tuple[Default, ...]
    everything: tuple[str, ...]
    """PostgreSQL's own roles that read or write every table, where they have members."""
    relations: Mapping[Name, Held] = field(default_factory=dict)
    """None of `pg_catalog` or `information_schema`."""
    findings: tuple[Finding, ...] = ()
    """What the login could do besides reading, worst first."""


def policy_names(login: str) -> tuple[str, str]:
    """The names of a login's two policies on a table: what it may have, and that it has no more whatever others say."""
    digest = blake2s(login.encode(), digest_size=6).hexdigest()
    room = _LONGEST_NAME - len(_PERMITS)
    cut = login.encode()[: room - len(digest) - 1].decode(errors="ignore")
    word = login if len(login.encode()) <= room else f"{cut}_{digest}"
    return f"{_PERMITS}{word}", f"{_FENCES}{word}"


def is_ours(name: str) -> bool:
    """Whether a policy is one that an installation makes, for whichever login."""
    return name == OTHERS or name.startswith((_PERMITS, _FENCES))
