-- What a database holds, as one snapshot sees it; PostgreSQL 14 to 18. The session's search_path is pg_catalog alone, so that
-- functions and operators are the system's and every name that is printed is whole.

-- :tables
-- Tables with rows of their own: partitions, and neither their parents, nor views, nor what lies on another server. $1: of a physical
-- copy, which has no rows of unlogged tables; else of a dump, which has none of an extension's own tables unless it asks for that.
SELECT c.oid::int8 AS oid, n.nspname::text AS schema, c.relname::text AS name,
    has_table_privilege(c.oid, 'SELECT') AS readable, row_security_active(c.oid) AS hiding,
    pg_relation_size(c.oid) / current_setting('block_size')::int8 AS blocks,
    pg_table_size(c.oid) AS bytes, EXISTS (SELECT FROM pg_depend d
        WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.objsubid = 0 AND d.deptype = 'e') AS member,
    c.relam = (SELECT a.oid FROM pg_am a WHERE a.amname = 'heap') AS heap,
    ARRAY(SELECT a.attname::text FROM pg_attribute a
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
        ORDER BY a.attname COLLATE "C") AS columns,
    ARRAY(SELECT a.atttypid::int8 FROM pg_attribute a
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
        ORDER BY a.attname COLLATE "C") AS types
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
    AND CASE WHEN $1::boolean THEN c.relpersistence = 'p' ELSE NOT EXISTS (SELECT FROM pg_depend d
        JOIN pg_extension e ON e.oid = d.refobjid
        WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.objsubid = 0 AND d.refclassid = 'pg_extension'::regclass
            AND d.deptype = 'e' AND c.oid <> ALL (coalesce(e.extconfig, '{}'))) END
ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"

-- :moved
-- Of these tables those that are no longer what the snapshot sees: emptied, rebuilt, renamed or replaced since. Names and
-- files are looked up as they are now, rows of the catalog as they were.
SELECT count(*)::int8
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = ANY ($1::oid[])
    AND (to_regclass(format('%I.%I', n.nspname, c.relname)) IS DISTINCT FROM c.oid OR pg_relation_filenode(c.oid) <> c.relfilenode)

-- :unsent
-- Types without a form in which they are sent, and all that are made of such.
WITH RECURSIVE made (part, whole) AS (
    SELECT t.typbasetype, t.oid FROM pg_type t WHERE t.typtype = 'd'
    UNION ALL
    SELECT t.typelem, t.oid FROM pg_type t WHERE t.typelem <> 0
    UNION ALL
    SELECT r.rngsubtype, r.rngtypid FROM pg_range r
    UNION ALL
    SELECT r.rngtypid, r.rngmultitypid FROM pg_range r
    UNION ALL
    SELECT a.atttypid, t.oid FROM pg_type t JOIN pg_attribute a ON a.attrelid = t.typrelid
    WHERE t.typtype = 'c' AND a.attnum > 0 AND NOT a.attisdropped
), unsent (type) AS (
    SELECT t.oid FROM pg_type t WHERE t.typtype = 'b' AND t.typsend = 0
    UNION
    SELECT m.whole FROM unsent u JOIN made m ON m.part = u.type
)
SELECT type::int8 FROM unsent

-- :alone
-- Whether nobody but us has a transaction open. In a server that recovers, which is a copy of ours, nobody has.
SELECT pg_is_in_recovery() OR NOT EXISTS (SELECT FROM pg_locks l WHERE l.locktype = 'virtualxid' AND l.mode = 'ExclusiveLock'
    AND l.pid <> pg_backend_pid())

-- :sequences
SELECT n.nspname::text AS schema, c.relname::text AS name, s.seqincrement AS increment,
    has_sequence_privilege(c.oid, 'SELECT') AS readable
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_sequence s ON s.seqrelid = c.oid
WHERE c.relkind = 'S' AND c.relpersistence <> 't'
    AND CASE WHEN $1::boolean THEN c.relpersistence = 'p' ELSE NOT EXISTS (SELECT FROM pg_depend d
        JOIN pg_extension e ON e.oid = d.refobjid
        WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.refclassid = 'pg_extension'::regclass
            AND d.deptype = 'e' AND c.oid <> ALL (coalesce(e.extconfig, '{}'))) END
ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"

-- :extensions
SELECT e.extname::text AS name, e.extversion AS state FROM pg_extension e ORDER BY 1

-- :objects
-- What belongs to no extension and no system, by kind and name, and what of it must be as it was. Definitions are no part of it: another
-- major version prints them in other words. Invalid indexes are left out, since a dump leaves them out: one that became invalid is missing.
WITH outside AS (
    SELECT n.oid, n.nspname FROM pg_namespace n
    WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
), own AS (
    SELECT c.*, format('%I.%I', n.nspname, c.relname) AS called FROM pg_class c JOIN outside n ON n.oid = c.relnamespace
    WHERE c.relpersistence <> 't' AND NOT EXISTS (SELECT FROM pg_depend d
        WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
)
SELECT 'schema' AS kind, format('%I', n.nspname) AS name, '' AS state FROM outside n
WHERE NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_namespace'::regclass AND d.objid = n.oid AND d.deptype = 'e')
UNION ALL
SELECT CASE c.relkind WHEN 'r' THEN 'table' WHEN 'p' THEN 'partitioned table' WHEN 'v' THEN 'view' WHEN 'f' THEN 'foreign table'
        WHEN 'm' THEN 'materialized view' END, c.called,
    concat_ws(' ', CASE WHEN c.relpersistence = 'u' THEN 'unlogged' END,
        CASE WHEN c.relkind = 'm' AND NOT c.relispopulated THEN 'empty' END,
        CASE WHEN c.relrowsecurity THEN 'row security' END, CASE WHEN c.relforcerowsecurity THEN 'forced' END,
        (SELECT 'columns ' || md5(string_agg(concat_ws(' ', quote_ident(a.attname), format_type(a.atttypid, a.atttypmod), a.attnotnull,
                a.atthasdef, a.attidentity, a.attgenerated), ',' ORDER BY a.attname COLLATE "C"))
            FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped))
FROM own c WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
UNION ALL
SELECT 'index', format('%I.%I', n.nspname, i.relname), concat_ws(' ', CASE WHEN x.indisunique THEN 'unique' END,
    CASE WHEN x.indisprimary THEN 'primary' END, 'on ' || c.called)
FROM pg_index x
JOIN own c ON c.oid = x.indrelid AND c.relkind IN ('r', 'p', 'm')
JOIN pg_class i ON i.oid = x.indexrelid
JOIN pg_namespace n ON n.oid = i.relnamespace
WHERE x.indisvalid
UNION ALL
-- The parts of a partition's keys are named by the server; NOT NULL is a constraint since 18 and a fact of columns always.
SELECT 'constraint', format('%I on %s', k.conname, c.called),
    concat_ws(' ', k.contype::text, CASE WHEN NOT k.convalidated THEN 'not valid' END, CASE WHEN k.condeferrable THEN 'deferrable' END)
FROM pg_constraint k JOIN own c ON c.oid = k.conrelid
WHERE k.conparentid = 0 AND k.contype NOT IN ('n', 't')
UNION ALL
SELECT 'trigger', format('%I on %s', g.tgname, c.called), g.tgenabled::text
FROM pg_trigger g JOIN own c ON c.oid = g.tgrelid WHERE NOT g.tgisinternal
UNION ALL
SELECT 'policy', format('%I on %s', p.polname, c.called), concat_ws(' ', p.polcmd::text, CASE WHEN p.polpermissive THEN 'permissive' END)
FROM pg_policy p JOIN own c ON c.oid = p.polrelid
UNION ALL
SELECT 'rule', format('%I on %s', r.rulename, c.called), r.ev_enabled::text
FROM pg_rewrite r JOIN own c ON c.oid = r.ev_class WHERE r.rulename <> '_RETURN'
UNION ALL
SELECT CASE p.prokind WHEN 'p' THEN 'procedure' WHEN 'a' THEN 'aggregate' ELSE 'function' END,
    format('%I.%I(%s)', n.nspname, p.proname, oidvectortypes(p.proargtypes)), CASE WHEN p.prosecdef THEN 'security definer' ELSE '' END
FROM pg_proc p JOIN outside n ON n.oid = p.pronamespace
WHERE NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype IN ('e', 'i'))
UNION ALL
SELECT CASE t.typtype WHEN 'e' THEN 'enum' WHEN 'd' THEN 'domain' WHEN 'r' THEN 'range' ELSE 'type' END,
    format('%I.%I', n.nspname, t.typname),
    coalesce((SELECT 'labels ' || md5(string_agg(quote_ident(e.enumlabel), ',' ORDER BY e.enumsortorder)) FROM pg_enum e
        WHERE e.enumtypid = t.oid), '')
FROM pg_type t JOIN outside n ON n.oid = t.typnamespace
WHERE (t.typtype IN ('e', 'd', 'r') OR t.typtype = 'c' AND EXISTS (SELECT FROM pg_class c WHERE c.oid = t.typrelid AND c.relkind = 'c'))
    AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_type'::regclass AND d.objid = t.oid AND d.deptype = 'e')
UNION ALL
SELECT 'event trigger', quote_ident(g.evtname), g.evtenabled::text FROM pg_event_trigger g
WHERE NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_event_trigger'::regclass AND d.objid = g.oid AND d.deptype = 'e')

-- :large_objects
-- As a table of theirs: which there are, how long each is, and its pages. Zeros at the end of a page and pages of zeros alone are left out,
-- since holes are written as zeros by a restore.
SELECT (SELECT count(*)::int8 FROM pg_largeobject_metadata) AS rows,
    ((SELECT coalesce(sum(hashtextextended(m.oid::text, 0)::numeric), 0) FROM pg_largeobject_metadata m)
    + (SELECT coalesce(sum(hashtextextended(s.loid::text || ' ' || s.size::text, 0)::numeric), 0)
        FROM (SELECT p.loid, max(p.pageno::int8 * 2048 + length(p.data)) AS size FROM pg_largeobject p GROUP BY p.loid) s)
    + (SELECT coalesce(sum(hashtextextended(p.loid::text || ' ' || p.pageno::text || ' ' || rtrim(p.data, '\x00'::bytea)::text, 0)::numeric), 0)
        FROM pg_largeobject p WHERE rtrim(p.data, '\x00'::bytea) <> ''::bytea))::text AS sum
