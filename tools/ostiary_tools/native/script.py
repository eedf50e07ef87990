"""Writes an installation as SQL: one transaction that can be run again. Pure: text from values.

Names, and values in predicates, may hold anything: in a statement each name stands quoted, in a comment only in one line.
"""

from collections.abc import Iterable, Iterator, Sequence

from ostiary_tools.datasources.least_privilege import ATTRIBUTES
from ostiary_tools.identifiers import one_line, quoted
from ostiary_tools.native.facts import OTHERS, Facts, Held, policy_names
from ostiary_tools.native.installation import Installation, Wanted
from ostiary_tools.powers import PUBLIC
from ostiary_tools.snapshot import Name

_HEAD = (
    "-- Limits, budgets, taints and the audit log hold in calls through Ostiary alone.",
    "-- For psql, connected to the database as a superuser or as the owner of the tables.",
    "BEGIN;",
    "SET LOCAL client_encoding = 'UTF8';",
    "SET LOCAL standard_conforming_strings = on;",
    "SET LOCAL search_path = pg_catalog;",
    "-- Where a table stays in use for longer this ends with an error; then nothing has changed, and it can be run again.",
    "SET LOCAL lock_timeout = '10s';",
)
_WHOLE_COMMENT = 10_000


def script(installation: Installation, facts: Facts, title: str) -> str:
    """The SQL. `title` says in words whose policy it is."""
    login = quoted(facts.login)
    parts: tuple[Iterable[str], ...] = (
        (f"-- {_comment(title)}", *_HEAD),
        _role(facts),
        _under(
            "-- Not as through Ostiary:",
            (f"-- - {_comment(said)}" for said in (*installation.closed.values(), *installation.remarks)),
        ),
        _taken(login, facts),
        _under(
            "-- EVERYBODY MAY DO THIS SO FAR. Grant it back to the roles that need it.", taken_from_everybody(installation, facts)
        ),
        _kept(installation, facts),
        *(_filtered(name, wanted, facts) for name, wanted in installation.wanted.items() if wanted.rows),
        _dropped(installation, facts),
        _granted(login, installation, facts),
        ("COMMIT;",),
    )
    return "\n\n".join("\n".join(part) for part in map(tuple, parts) if part) + "\n"


def title(roles: Sequence[str], attributes: Iterable[str], policy_hash: str) -> str:
    """Whose policy it is, and of which values of theirs."""
    values = ", ".join(attributes)
    return f"What {', '.join(roles)} may read{f' with {values}' if values else ''}, by the policies {policy_hash}."


def needs_keeping(installation: Installation, facts: Facts) -> Sequence[Name]:
    """Tables that row security begins on while others have rights on them."""
    return [
        name
        for name, wanted in installation.wanted.items()
        if wanted.rows and not facts.relations[name].row_security and _others(facts.relations[name], facts)
    ]


def taken_from_everybody(installation: Installation, facts: Facts) -> Sequence[str]:
    """Statements that take from PUBLIC what the login could do too."""
    fixes = [
        f"{finding.fix};" for finding in facts.findings if finding.over_privileged and finding.through == PUBLIC and finding.fix
    ]
    for name, held in sorted(facts.relations.items()):
        columns = installation.wanted[name].columns if name in installation.wanted else ()
        given = {grant.column for grant in held.grants if not grant.grantee and grant.privilege == "SELECT"}
        if not given <= set(columns):
            fixes += _by_grantors(f"REVOKE SELECT ON TABLE {_table(name)} FROM {PUBLIC} CASCADE;", held, "")  # noqa: S608  quoted
    return fixes


def _comment(text: str) -> str:
    return one_line(text, _WHOLE_COMMENT)


def _under(heading: str, lines: Iterable[str]) -> Sequence[str]:
    found = [*lines]
    return [heading, *found] if found else ()


def _role(facts: Facts) -> Iterator[str]:
    if not facts.exists:
        body = f"BEGIN CREATE ROLE {quoted(facts.login)} LOGIN {ATTRIBUTES}; EXCEPTION WHEN duplicate_object THEN NULL; END"
        yield f"DO {_literal(body)};"
        yield "-- Give it a password afterwards: \\password in psql, followed by its name."


def _taken(login: str, facts: Facts) -> Iterator[str]:
    """What the login has by itself goes, and comes again below."""
    for role, grantor in facts.memberships:
        yield f"REVOKE {quoted(role)} FROM {login}{f' GRANTED BY {quoted(grantor)}' if grantor else ''} CASCADE;"
    for default in facts.defaults:
        where = f" IN SCHEMA {quoted(default.schema)}" if default.schema else ""
        whom = PUBLIC if default.everybody else login
        yield f"ALTER DEFAULT PRIVILEGES FOR ROLE {quoted(default.owner)}{where} REVOKE SELECT ON TABLES FROM {whom};"  # noqa: S608  names are quoted
    for finding in facts.findings:
        if finding.over_privileged and finding.fix and finding.through == facts.login:
            yield f"{finding.fix};"
    for schema in sorted(facts.own_schemas):
        yield f"REVOKE ALL PRIVILEGES ON SCHEMA {quoted(schema)} FROM {login} CASCADE;"
    for name, held in sorted(facts.relations.items()):
        if facts.login in held.grantees():
            yield from _by_grantors(f"REVOKE ALL PRIVILEGES ON TABLE {_table(name)} FROM {login} CASCADE;", held, facts.login)


def _by_grantors(revoke: str, held: Held, grantee: str) -> Iterator[str]:
    """The statement once for each who gave something: what one gave, no other can take back."""
    for grantor in sorted({grant.grantor for grant in held.grants if grant.grantee == grantee}):
        yield f"SET LOCAL ROLE {quoted(grantor)}; {revoke} RESET ROLE;" if grantor else revoke


def _kept(installation: Installation, facts: Facts) -> Iterator[str]:
    """Row security shows nobody but its owner a row until a policy does; so who has rights now gets one."""
    names = needs_keeping(installation, facts)
    if not names:
        return
    yield f"-- ROW SECURITY BEGINS on {len(names)} of these tables, for all but their owners. Who has rights on one now"
    yield f"-- keeps all its rows by the policy {OTHERS}; a role that gets rights later has no rows until a policy says so."
    for name in names:
        roles = ", ".join(quoted(role) if role else PUBLIC for role in _others(facts.relations[name], facts))
        yield f"DROP POLICY IF EXISTS {OTHERS} ON {_table(name)};"
        yield f"CREATE POLICY {OTHERS} ON {_table(name)} FOR ALL TO {roles} USING (true) WITH CHECK (true);"


def _others(held: Held, facts: Facts) -> Sequence[str]:
    """Whose rows row security would take; everybody alone where everybody is among them."""
    found = [role for role in held.grantees() if role != facts.login]
    return [""] if "" in found else [*found, *facts.everything]


def _filtered(name: Name, wanted: Wanted, facts: Facts) -> Iterator[str]:
    """One policy that shows the rows and one that shows no others, whatever policies others make."""
    login, table = quoted(facts.login), _table(name)
    for policy, kind in zip(policy_names(facts.login), ("PERMISSIVE", "RESTRICTIVE"), strict=True):
        yield f"DROP POLICY IF EXISTS {quoted(policy)} ON {table};"
        yield f"CREATE POLICY {quoted(policy)} ON {table} AS {kind} FOR SELECT TO {login}\n    USING ({wanted.rows});"
    yield f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;"


def _dropped(installation: Installation, facts: Facts) -> Iterator[str]:
    """Policies of an earlier installation that nothing needs any more."""
    for name, held in sorted(facts.relations.items()):
        if name not in installation.wanted or not installation.wanted[name].rows:
            for policy in held.policies:
                if policy.name in policy_names(facts.login):
                    yield f"DROP POLICY IF EXISTS {quoted(policy.name)} ON {_table(name)};"


def _granted(login: str, installation: Installation, facts: Facts) -> Iterator[str]:
    yield f"GRANT CONNECT ON DATABASE {quoted(facts.database)} TO {login};"
    for schema in sorted({schema for schema, _ in installation.wanted}):
        yield f"GRANT USAGE ON SCHEMA {quoted(schema)} TO {login};"
    for name, wanted in installation.wanted.items():
        yield f"GRANT SELECT ({', '.join(map(quoted, wanted.columns))}) ON TABLE {_table(name)} TO {login};"


def _table(name: Name) -> str:
    schema, table = name
    return f"{quoted(schema)}.{quoted(table)}"


def _literal(text: str) -> str:
    """Under `standard_conforming_strings`."""
    return "'" + text.replace("'", "''") + "'"
