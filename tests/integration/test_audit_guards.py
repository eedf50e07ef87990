"""Append-only, for everybody short of a superuser who first lifts the guards: each case is a hole somebody fell into."""

import asyncpg
import pytest
from fix_audit import AuditLog

from ostiary_tools.control.journal import open_journal

FORBIDDEN_TO_THE_WRITER = {
    "update": "UPDATE audit.log SET body = 'x'",
    "delete": "DELETE FROM audit.log",
    "truncate": "TRUNCATE audit.log",
    "read bodies": "SELECT body FROM audit.log",
    "read seals": "SELECT * FROM audit.seal",
    "insert beside the parent": "INSERT INTO audit.{part} VALUES (9, 1, now(), 'e', gen_random_uuid(), '{{}}', '')",
    "run a program": "COPY audit.log FROM PROGRAM 'true'",
    "drop": "DROP TABLE audit.log",
    "disable triggers": "ALTER TABLE audit.log DISABLE TRIGGER ALL",
    "overwrite on conflict": "INSERT INTO audit.log SELECT 0, 1, now(), 'e', gen_random_uuid(), '', ''"
    " ON CONFLICT (stream, seq, ts) DO UPDATE SET body = 'z'",
    "change a checkpoint": "UPDATE audit.checkpoint SET size = 1",
    "seal": "SELECT audit.seal_partition('{part}', '[]')",
    "keep another shape": "SELECT audit.keep_shape()",
    "become the owner": "SET ROLE ostiary_owner",
    "fire no triggers": "SET session_replication_role = replica",
}

FORBIDDEN_TO_OWNER_AND_SUPERUSER = {
    "update": "UPDATE audit.log SET body = 'x'",
    "update nothing": "UPDATE audit.log SET body = 'x' WHERE false",
    "delete": "DELETE FROM audit.log",
    "truncate": "TRUNCATE audit.log",
    "update a partition": "UPDATE audit.{part} SET body = 'x'",
    "delete from a partition": "DELETE FROM audit.{part}",
    "truncate a partition": "TRUNCATE audit.{part}",
    "delete checkpoints": "DELETE FROM audit.checkpoint",
    "truncate rosters": "TRUNCATE audit.roster",
    "write a seal": "INSERT INTO audit.seal VALUES (0, 1, 'x', now(), now(), '', '', '')",
    "change the installation": "INSERT INTO audit.installation DEFAULT VALUES",
    "change the shape": "UPDATE audit.shape SET digest = 'x'",
    "disable a trigger": "ALTER TABLE audit.log DISABLE TRIGGER append_only_row",
    "demote a trigger": "ALTER TABLE audit.log ENABLE TRIGGER append_only_row",
    "demote a trigger of a partition": "ALTER TABLE audit.{part} ENABLE TRIGGER append_only_statement",
    "drop a trigger": "DROP TRIGGER append_only_row ON audit.log",
    "drop a table": "DROP TABLE audit.log",
    "drop a partition": "DROP TABLE audit.{part}",
    "detach a partition": "ALTER TABLE audit.log DETACH PARTITION audit.{part}",
    "drop the schema": "DROP SCHEMA audit CASCADE",
    "replace a function": "CREATE OR REPLACE FUNCTION audit.refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN new; END$$",
    "drop a function with all": "DROP FUNCTION audit.refuse() CASCADE",
    "add a rule": "CREATE RULE r AS ON INSERT TO audit.log DO INSTEAD NOTHING",
    "add a trigger": "CREATE TRIGGER t BEFORE INSERT ON audit.log EXECUTE FUNCTION audit.refuse()",
    "add a policy": "CREATE POLICY p ON audit.log",
    "hide rows": "ALTER TABLE audit.log ENABLE ROW LEVEL SECURITY",
    "add a table": "CREATE TABLE audit.more (x int)",
    "add a partition": "CREATE TABLE audit.log_1999 PARTITION OF audit.log FOR VALUES FROM ('1999-01-01') TO ('1999-02-01')",
    "add a column": "ALTER TABLE audit.log ADD COLUMN more text",
    "rename a table": "ALTER TABLE audit.log RENAME TO diary",
    "move a table away": "ALTER TABLE audit.log SET SCHEMA public",
    "rename the schema": "ALTER SCHEMA audit RENAME TO history",
    "grant more": "GRANT UPDATE ON audit.log TO ostiary_writer",
    "grant to all": "GRANT SELECT ON audit.log TO PUBLIC",
    "change a default": "ALTER TABLE audit.checkpoint ALTER COLUMN at SET DEFAULT '2000-01-01'",
}


async def attempt(log: AuditLog, role: str, statement: str, *before: str) -> str:
    """Try it in a transaction of its own; the server's refusal, or an empty text when it went through."""
    connection = await log.connect("ostiary_writer" if role == "ostiary_writer" else "ostiary_admin")
    try:
        part = (await log.fetch("SELECT min(relname)::text FROM pg_class WHERE relname LIKE 'log\\_20__\\___' AND relkind = 'r'"))[
            0
        ][0]
        if role == "ostiary_owner":
            await connection.execute("SET ROLE ostiary_owner")
        for words in before:
            await connection.execute(words)
        await connection.execute(statement.format(part=part))
    except asyncpg.PostgresError as error:
        return str(error)
    finally:
        await connection.close()
    return ""


@pytest.mark.asyncio
async def test_the_writer_may_add_and_nothing_else(audit_log: AuditLog):
    await audit_log.write(2)
    through = [name for name, words in FORBIDDEN_TO_THE_WRITER.items() if not await attempt(audit_log, "ostiary_writer", words)]
    assert through == []


@pytest.mark.asyncio
@pytest.mark.parametrize("role", ["ostiary_owner", "ostiary_admin"])
async def test_owner_and_superuser_are_refused_while_the_guards_stand(audit_log: AuditLog, role: str):
    await audit_log.write(2)
    through = [name for name, words in FORBIDDEN_TO_OWNER_AND_SUPERUSER.items() if not await attempt(audit_log, role, words)]
    assert through == []
    assert (await audit_log.verify()).exit_code == 0


@pytest.mark.asyncio
async def test_a_session_that_fires_no_ordinary_triggers_is_refused_too(audit_log: AuditLog):
    await audit_log.write(2)
    replica = "SET session_replication_role = replica"
    through = [
        name
        for name, words in FORBIDDEN_TO_OWNER_AND_SUPERUSER.items()
        if not await attempt(audit_log, "ostiary_admin", words, replica)
    ]
    assert through == []


@pytest.mark.asyncio
async def test_no_setting_opens_the_schema(audit_log: AuditLog):
    switches = ("SET ostiary.maintenance = 'on'", "SET audit.maintenance = 'on'")
    refused = await attempt(audit_log, "ostiary_admin", "DROP TABLE audit.roster", *switches)
    assert "schema audit is protected" in refused


@pytest.mark.asyncio
async def test_the_owner_by_session_authorization_is_refused(audit_log: AuditLog):
    refused = await attempt(audit_log, "ostiary_admin", "DROP TABLE audit.roster", "SET SESSION AUTHORIZATION ostiary_owner")
    assert "schema audit is protected" in refused


@pytest.mark.asyncio
async def test_other_schemas_of_the_database_stay_open_to_ddl(audit_log: AuditLog):
    assert await attempt(audit_log, "ostiary_admin", "CREATE TABLE public.notes (x int); DROP TABLE public.notes") == ""


@pytest.mark.asyncio
async def test_nobody_can_log_in_as_the_owner(audit_log: AuditLog):
    with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError):
        await audit_log.connect("ostiary_owner")


@pytest.mark.asyncio
async def test_every_partition_refuses_always_and_by_statement_too(audit_log: AuditLog):
    rows = await audit_log.fetch(
        "SELECT c.relname::text, t.tgname::text, t.tgenabled = 'A' AS always"
        " FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid"
        " WHERE c.relname LIKE 'log\\_20%' AND c.relkind = 'r' ORDER BY 1, 2"
    )
    assert len({row["relname"] for row in rows}) == 4
    assert {row["tgname"] for row in rows} == {"append_only_row", "append_only_statement"}
    assert len(rows) == 8
    assert all(row["always"] for row in rows)


@pytest.mark.asyncio
async def test_the_writer_makes_partitions_ahead_and_not_without_end(audit_log: AuditLog):
    await audit_log.fetch("SELECT audit.make_partitions(7)", role="ostiary_writer")
    rows = await audit_log.fetch("SELECT count(*) FROM pg_inherits WHERE inhparent = 'audit.log'::regclass")
    assert rows[0][0] == 8
    with pytest.raises(asyncpg.InvalidParameterValueError):
        await audit_log.fetch("SELECT audit.make_partitions(100)", role="ostiary_writer")


@pytest.mark.asyncio
async def test_a_guard_that_was_lifted_and_not_put_back_as_it_was_is_told(audit_log: AuditLog):
    await audit_log.tamper("SELECT 1")  # puts ordinary triggers where ENABLE ALWAYS ones were
    journal = await open_journal(audit_log.writer_dsn, "test")
    guards = await journal.guards()
    await journal.close()
    assert (guards.shape, guards.event_triggers) == (False, True)


@pytest.mark.asyncio
async def test_a_search_path_of_the_caller_does_not_reach_into_the_owners_functions(audit_log: AuditLog):
    lookalike = """
        CREATE FUNCTION public.date_trunc(text, timestamptz) RETURNS timestamptz
            LANGUAGE sql AS $$SELECT timestamptz '1999-01-01'$$;
        SET search_path = public, pg_catalog;
        SELECT audit.make_partitions(5)"""
    assert await attempt(audit_log, "ostiary_admin", lookalike) == ""
    assert await audit_log.fetch("SELECT 1 FROM pg_class WHERE relname = 'log_1999_01'") == []
