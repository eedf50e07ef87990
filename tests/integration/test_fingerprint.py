"""The judge of attacks sees everything that can be changed: each thing is changed once."""

import asyncpg
import pytest
from fix_attacks import TWINS, differing
from fix_fortress import READER, Fortress

_A = TWINS[0]
_CHANGES = [
    ("a row", _A, "INSERT INTO journal VALUES ('x')", "journal"),
    ("a row of an unlogged table", _A, "INSERT INTO scratch VALUES ('x')", "scratch"),
    ("a column's value", _A, "UPDATE customers SET city = 'Paris' WHERE id = 20", "customers"),
    ("a row of a materialized view", _A, "REFRESH MATERIALIZED VIEW cities", "cities"),
    ("a row in the other shop", TWINS[1], "INSERT INTO journal VALUES ('x')", "shop_b journal"),
    ("a row and back", _A, "INSERT INTO journal VALUES ('y'); DELETE FROM journal WHERE entry = 'y'", "wal"),
    ("a table", _A, "CREATE TABLE pwned (a int)", "pg_class"),
    ("a table in another database", "postgres", "CREATE TABLE pwned (a int)", "wal"),
    ("a table for databases to come", "template1", "CREATE TABLE pwned (a int); DROP TABLE pwned", "wal"),
    ("a temporary table", _A, "CREATE TEMP TABLE passing (a int)", "pg_class"),
    ("a schema", _A, "CREATE SCHEMA pwned", "pg_namespace"),
    ("a table in a schema of its own", _A, "CREATE TABLE pwned.t AS SELECT 1 AS a", "pwned.t"),
    ("a function", _A, "CREATE FUNCTION pwned() RETURNS int LANGUAGE sql AS 'SELECT 1'", "pg_proc"),
    ("a type", _A, "CREATE TYPE pwned.mood AS ENUM ('a')", "pg_type"),
    ("a column", _A, "ALTER TABLE journal ADD COLUMN b int", "pg_attribute"),
    ("a constraint", _A, "ALTER TABLE journal ADD CHECK (b > 0)", "pg_constraint"),
    ("an index", _A, "CREATE INDEX ON journal (b)", "pg_index"),
    ("a rule", _A, "CREATE RULE r AS ON UPDATE TO journal DO NOTHING", "pg_rewrite"),
    ("a trigger", _A, "CREATE TRIGGER t BEFORE UPDATE ON journal EXECUTE FUNCTION tsvector_update_trigger()", "pg_trigger"),
    ("a policy", _A, "CREATE POLICY p ON journal", "pg_policy"),
    ("a publication", _A, "CREATE PUBLICATION p", "pg_publication"),
    ("a comment", _A, "COMMENT ON TABLE journal IS 'x'", "pg_description"),
    ("a right", _A, "GRANT ALL ON journal TO PUBLIC", "pg_class"),
    ("a default right", _A, "ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO PUBLIC", "pg_default_acl"),
    ("an extension", _A, "DROP EXTENSION citext", "pg_extension"),
    ("a foreign server", _A, "CREATE SERVER pwned FOREIGN DATA WRAPPER file_fdw", "pg_foreign_server"),
    ("a sequence", _A, "SELECT nextval('tickets')", "sequences"),
    ("a sequence within what the log covers", _A, "SELECT nextval('tickets')", "sequences"),
    ("a large object", _A, "SELECT lo_put(4711, 0, 'z')", "large objects"),
    ("a large object of another's", _A, f"ALTER LARGE OBJECT 4711 OWNER TO {READER}", "owners of large objects"),
    ("statistics of a table", _A, "ANALYZE orders", "wal"),
    ("a role", _A, "CREATE ROLE pwned", "roles"),
    ("a membership", _A, f"GRANT pg_read_all_data TO {READER}", "memberships"),
    ("a setting of a role", _A, f"ALTER ROLE {READER} SET work_mem = '1MB'", "settings of roles"),
    ("a comment on a role", _A, f"COMMENT ON ROLE {READER} IS 'x'", "shared comments"),
    ("a database", "postgres", "CREATE DATABASE pwned", "databases"),
    ("a limit of a database", _A, "ALTER DATABASE postgres CONNECTION LIMIT 5", "databases"),
    ("a setting of the cluster, not yet in force", _A, "ALTER SYSTEM SET work_mem = '9MB'", "file postgresql.auto.conf"),
    ("a setting in force", _A, "SELECT pg_reload_conf()", "configuration read"),
    ("a logical slot", _A, "SELECT pg_create_logical_replication_slot('l', 'pgoutput')", "replication slots"),
    ("an advisory lock", _A, "SELECT pg_advisory_lock(1)", "locks"),
    ("a lock of a table", _A, "BEGIN; LOCK TABLE orders IN SHARE MODE", "locks"),
    ("a closed table", _A, "LOCK TABLE orders IN ACCESS EXCLUSIVE MODE", "closed"),
    ("an open table", _A, "ROLLBACK", "locks"),
    ("a transaction number", _A, "SELECT pg_current_xact_id()", "transaction numbers"),
    ("a prepared transaction", _A, "BEGIN; INSERT INTO journal VALUES ('p'); PREPARE TRANSACTION 'p'", "prepared transactions"),
    ("a replication slot", _A, "SELECT pg_create_physical_replication_slot('p')", "replication slots"),
    ("an origin of replication", _A, "SELECT pg_replication_origin_create('o')", "replication origins"),
    ("a message in the log", _A, "SELECT pg_logical_emit_message(true, 'a', 'b')", "wal"),
    ("a notification", _A, "NOTIFY alarm, 'x'", "heard"),
    ("another's statement cancelled", _A, "SELECT pg_cancel_backend(@sleeper@)", "sleeper"),
    ("another's session ended", _A, "SELECT pg_terminate_backend(@bystander@, 5000)", "other sessions"),
    ("a session made", _A, "SELECT dblink_connect('c', '@dsn@')", "other sessions"),
    ("statistics of the database", _A, "SELECT pg_stat_reset()", "statistics of databases"),
    ("statistics of one table", _A, "SELECT pg_stat_reset_single_table_counters('orders'::regclass)", "statistics of databases"),
    ("statistics of the writer", _A, "SELECT pg_stat_reset_shared('bgwriter')", "statistics of the writer"),
    ("statistics of the archiver", _A, "SELECT pg_stat_reset_shared('archiver')", "statistics of the archiver"),
    ("statistics of the log", _A, "SELECT pg_stat_reset_shared('wal')", "statistics of the log"),
    ("statistics of caches", _A, "SELECT pg_stat_reset_slru(NULL)", "statistics of caches"),
    ("statistics of slots", _A, "SELECT pg_stat_reset_replication_slot('l')", "statistics of slots"),
    ("statistics of statements", _A, "SELECT pg_stat_statements_reset()", "statistics of statements"),
    ("a file", _A, "COPY (SELECT 1) TO '@folder@/copied'", "copied"),
    ("a file in the data directory", _A, "COPY (SELECT 1) TO '@data@/pwned'", "pwned"),
    ("a file among the tables", _A, "COPY (SELECT 1) TO '@data@/base/1/pwned'", "names in base/1"),
    ("a file in the log's folder", _A, "COPY (SELECT 1) TO '@data@/pg_wal/pwned'", "names in pg_wal"),
    ("who may log in", _A, "COPY (SELECT 'local all all trust') TO '@data@/pg_hba.conf'", "file pg_hba.conf"),
    ("a checkpoint", _A, "CHECKPOINT", "wal"),
    ("a row in a session's own transaction", _A, "BEGIN; INSERT INTO journal VALUES ('open')", "locks"),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.asyncio
@pytest.mark.parametrize("attacked", ["fortress", "system_fortress"], indirect=True)
async def test_the_fingerprint_sees_every_kind_of_change(attacked: Fortress):
    unseen: list[str] = []
    sessions: list[asyncpg.Connection] = []
    rules = (attacked.server.data / "pg_hba.conf").read_text()
    try:
        async with attacked.standing():
            before = await attacked.fingerprint()
            assert await attacked.fingerprint() == before, "what nobody changed looks the same"
            session: dict[str, asyncpg.Connection] = {}
            for title, database, statement, facet in _CHANGES:
                if database not in session:
                    session[database] = await asyncpg.connect(attacked.server.dsn(database=database), server_settings=_BARE)
                    sessions.append(session[database])
                    before = await attacked.fingerprint()
                if database in ("postgres", "template1"):  # one that others are copied from may have no visitor
                    await session.pop(database).execute(attacked.fill(statement))
                    await sessions.pop().close()
                else:
                    await session[database].execute(attacked.fill(statement))
                after = await attacked.changed(before, facet)
                changed = differing(before, after)
                if not any(facet in name for name in changed):
                    unseen.append(f"{title}: {facet} is not among {changed}")
                before = after
    finally:
        (attacked.server.data / "pg_hba.conf").write_text(rules)
        for path in attacked.server.data.glob("*/**/pwned"):
            path.unlink()
        for connection in sessions:
            connection.terminate()
    assert unseen == []


_BARE = {"application_name": "bare", "statement_timeout": "10s"}
