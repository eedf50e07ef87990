-- Whether relations of a copy are sound, by amcheck; PostgreSQL 14 to 18.

-- :databases
SELECT datname::text AS name FROM pg_database WHERE datallowconn ORDER BY datname COLLATE "C"

-- :available
SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'amcheck')

-- :settled
-- What the copy says of its own sessions holds for none of ours: it could hide damage, and names could lead elsewhere.
SELECT pg_catalog.set_config(s.name, p.value, false)
FROM (VALUES ('search_path', 'pg_catalog'), ('zero_damaged_pages', 'off'), ('ignore_checksum_failure', 'off'),
    ('statement_timeout', '0'), ('lock_timeout', '0'), ('transaction_timeout', '0'), ('idle_session_timeout', '0'),
    ('default_transaction_read_only', 'off'), ('session_replication_role', 'replica'), ('maintenance_work_mem', '256MB')) AS p(name, value)
JOIN pg_catalog.pg_settings s ON s.name OPERATOR(pg_catalog.=) p.name

-- :gone
-- One that came with the copy may be of an older version, and anything.
DROP EXTENSION IF EXISTS amcheck CASCADE

-- :amcheck
CREATE EXTENSION amcheck SCHEMA pg_catalog

-- :tables
-- Those that have rows of their own, and the system's.
SELECT c.oid, n.nspname::text AS schema, c.relname::text AS name
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm', 't') AND c.relpersistence = 'p' AND c.relam = (SELECT a.oid FROM pg_am a WHERE a.amname = 'heap')
ORDER BY c.oid

-- :indexes
SELECT c.oid, n.nspname::text AS schema, c.relname::text AS name
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_index i ON i.indexrelid = c.oid
WHERE c.relkind = 'i' AND c.relpersistence = 'p' AND i.indisready AND i.indisvalid
    AND c.relam = (SELECT a.oid FROM pg_am a WHERE a.amname = 'btree')
ORDER BY c.oid

-- :heap
SELECT blkno AS block, msg AS words FROM verify_heapam($1::oid::regclass, on_error_stop => true, check_toast => true) LIMIT 1

-- :index
SELECT bt_index_parent_check($1::oid::regclass, heapallindexed => true)
