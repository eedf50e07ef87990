-- Whether relations of a copy are sound, by amcheck; PostgreSQL 14 to 18.

-- :databases
SELECT datname::text AS name FROM pg_database WHERE datallowconn ORDER BY datname COLLATE "C"

-- :amcheck
CREATE EXTENSION IF NOT EXISTS amcheck

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
SELECT bt_index_check($1::oid::regclass, heapallindexed => true)

-- :within_reach
-- Where it was there before, it may be of an older version, and lie where no path leads.
ALTER EXTENSION amcheck SET SCHEMA pg_catalog

-- :of_now
ALTER EXTENSION amcheck UPDATE
