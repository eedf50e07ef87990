-- What a transaction did, asked from inside it (PostgreSQL 14 to 18). `changing.py` and its neighbours split at the names.

-- :counted
-- Rows the session has written by table, also those it has not reported yet of transactions before this one.
SELECT c.oid::int8 AS oid, s.ins, s.upd, s.del
FROM pg_catalog.pg_class c
CROSS JOIN LATERAL (SELECT pg_catalog.pg_stat_get_xact_tuples_inserted(c.oid) AS ins, pg_catalog.pg_stat_get_xact_tuples_updated(c.oid) AS upd,
    pg_catalog.pg_stat_get_xact_tuples_deleted(c.oid) AS del OFFSET 0) AS s
WHERE c.relkind = 'r' AND s.ins + s.upd + s.del > 0

-- :kinds
-- Of these ($1): the whole they are parts of, and whether they are the system's own.
SELECT c.oid::int8 AS oid, c.relnamespace = 'pg_catalog'::pg_catalog.regnamespace AS system,
    coalesce(pg_catalog.pg_partition_root(c.oid), c.oid)::int8 AS root
FROM pg_catalog.pg_class c
WHERE c.oid = ANY ($1::pg_catalog.oid[])

-- :tables
-- Of whole tables ($1): name and kind.
SELECT c.oid::int8 AS oid, n.nspname::text AS schema, c.relname::text AS name, c.relkind = 'p' AS partitioned,
    pg_catalog.row_security_active(c.oid) AS filtered
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = ANY ($1::pg_catalog.oid[])

-- :named
-- OIDs of tables by their names ($1, quoted), the whole in the place of a part, and whether this login may lock rows there.
SELECT coalesce(pg_catalog.pg_partition_root(r.oid), r.oid)::int8 AS oid,
    pg_catalog.has_table_privilege(r.oid, 'UPDATE') OR pg_catalog.has_any_column_privilege(r.oid, 'UPDATE') AS lockable
FROM pg_catalog.unnest($1::text[]) WITH ORDINALITY AS w (name, place)
CROSS JOIN LATERAL (SELECT pg_catalog.to_regclass(w.name)::pg_catalog.oid AS oid) AS r
ORDER BY w.place

-- :columns
-- What they store, in order, with the place of each in the primary key, from 1.
SELECT a.attrelid::int8 AS oid, a.attname::text AS name, pg_catalog.format_type(a.atttypid, a.atttypmod) AS type,
    a.attgenerated <> '' AS generated, a.attidentity = 'a' AS always,
    coalesce(pg_catalog.array_position(i.indkey::pg_catalog.int2[], a.attnum) - pg_catalog.array_lower(i.indkey::pg_catalog.int2[], 1) + 1, 0) AS place
FROM pg_catalog.pg_attribute a
LEFT JOIN pg_catalog.pg_index i ON i.indrelid = a.attrelid AND i.indisprimary
WHERE a.attrelid = ANY ($1::pg_catalog.oid[]) AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated <> 'v'
ORDER BY a.attrelid, a.attnum

-- :actions
-- Foreign keys from tables of $1 to tables of $1, whole with whole, and what follows there from a row that goes or changes.
SELECT k.conrelid::int8 AS child, k.confrelid::int8 AS parent, k.confdeltype IN ('c', 'n', 'd') AS deletes, k.confupdtype IN ('c', 'n', 'd') AS updates
FROM pg_catalog.pg_constraint k
WHERE k.contype = 'f' AND k.conparentid = 0 AND k.conrelid = ANY ($1::pg_catalog.oid[]) AND k.confrelid = ANY ($1::pg_catalog.oid[])

-- :triggers
-- Enabled triggers of users on tables ($1), with the events they hear.
SELECT t.tgrelid::int8 AS oid, t.tgname::text AS name, fn.nspname::text AS function_schema, p.proname::text AS function,
    t.tgtype & 4 <> 0 AS inserts, t.tgtype & 8 <> 0 AS deletes, t.tgtype & 16 <> 0 AS updates
FROM pg_catalog.pg_trigger t
JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid
JOIN pg_catalog.pg_namespace fn ON fn.oid = p.pronamespace
WHERE NOT t.tgisinternal AND t.tgenabled IN ('O', 'A') AND t.tgrelid = ANY ($1::pg_catalog.oid[])
ORDER BY t.tgname COLLATE "C"

-- :locks
-- What this session holds of relations that users made, with who waits for it there.
SELECT c.oid::int8 AS oid, n.nspname::text AS schema, c.relname::text AS name, c.relkind::text AS kind, c.relfilenode::int8 AS file,
    pg_catalog.array_agg(DISTINCT l.mode) AS modes, coalesce(w.waiting, 0) AS waiting
FROM pg_catalog.pg_locks l
JOIN pg_catalog.pg_class c ON c.oid = l.relation
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN (
    SELECT o.relation, pg_catalog.count(DISTINCT o.pid)::int4 AS waiting
    FROM pg_catalog.pg_locks o
    WHERE o.pid <> pg_catalog.pg_backend_pid() AND o.relation IS NOT NULL AND (NOT o.granted OR o.locktype = 'tuple')
        AND o.pid IN (SELECT g.pid FROM pg_catalog.pg_locks g WHERE NOT g.granted) AND pg_catalog.pg_backend_pid() = ANY (pg_catalog.pg_blocking_pids(o.pid))
    GROUP BY o.relation
) AS w ON w.relation = c.oid
WHERE l.pid = pg_catalog.pg_backend_pid() AND l.locktype = 'relation' AND l.granted AND l.mode <> 'SIReadLock'
    AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
    AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
GROUP BY c.oid, n.nspname, c.relname, c.relkind, c.relfilenode, w.waiting
ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"

-- :files
-- The files of these ($1), as this session sees them.
SELECT c.oid::int8 AS oid, c.relfilenode::int8 AS file FROM pg_catalog.pg_class c WHERE c.oid = ANY ($1::pg_catalog.oid[])

-- :sequences
-- Where each sequence stands that this login may look at, and its step.
SELECT s.seqrelid::int8 AS oid, s.seqstart AS start, s.seqincrement AS step, pg_catalog.pg_sequence_last_value(s.seqrelid) AS last
FROM pg_catalog.pg_sequence s JOIN pg_catalog.pg_class c ON c.oid = s.seqrelid
WHERE c.relpersistence <> 't' AND pg_catalog.has_sequence_privilege(s.seqrelid, 'USAGE, SELECT')

-- :transaction
-- Ours, and whether what it writes is counted.
SELECT pg_catalog.pg_current_xact_id_if_assigned()::text::int8 AS id, pg_catalog.current_setting('track_counts') = 'on' AS counts

-- :next
-- The transaction and the multixact that this server would begin next, in a session that has none.
SELECT pg_catalog.age('3'::xid)::int8 AS transaction, pg_catalog.mxid_age('1'::xid)::int8 AS multixact

-- :holders
-- Who keeps session $1 waiting; of others an ordinary login sees no more than who they are.
SELECT b.pid, coalesce(a.usename, '')::text AS role, coalesce(a.application_name, '') AS application,
    pg_catalog.to_char(a.xact_start AT TIME ZONE 'UTC', 'HH24:MI:SS') AS since
FROM pg_catalog.unnest(pg_catalog.pg_blocking_pids($1::int4)) AS b (pid)
LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = b.pid

-- :name
-- What the transaction is found by later: cluster, timeline and the id of the transaction.
SELECT pg_catalog.concat_ws('/', (SELECT c.system_identifier FROM pg_catalog.pg_control_system() AS c),
    pg_catalog.left(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()), 8), pg_catalog.pg_current_xact_id()) AS name

-- :durable
-- The commit waits for the disk; where it waits for a standby besides, it does so still.
SELECT pg_catalog.set_config('synchronous_commit', 'on', true) WHERE pg_catalog.current_setting('synchronous_commit') = 'off'

-- :flush
-- What was written before a commit that is flushed is flushed too; then no crash makes the server give the same id again.
SELECT pg_catalog.pg_logical_emit_message(true, 'ostiary', '')::text

-- :cluster
SELECT pg_catalog.pg_is_in_recovery() AS standby, (SELECT c.system_identifier FROM pg_catalog.pg_control_system() AS c)::text AS cluster

-- :timeline
SELECT pg_catalog.left(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()), 8)

-- :fate
SELECT pg_catalog.pg_xact_status($1::text::pg_catalog.xid8)
