-- How tables of a copy are taken out of it; PostgreSQL 14 to 18. The session's search_path is pg_catalog alone.

-- :chosen
-- The tables of these schemas ($1) and names ($2), with the partitions of those that are divided.
SELECT c.oid, n.nspname::text AS schema, c.relname::text AS name, w.number AS number
FROM ROWS FROM (unnest($1::text[]), unnest($2::text[])) WITH ORDINALITY AS w(schema, name, number)
JOIN pg_namespace n ON n.nspname = w.schema
JOIN pg_class r ON r.relnamespace = n.oid AND r.relname = w.name AND r.relkind IN ('r', 'p')
CROSS JOIN LATERAL (SELECT r.oid UNION SELECT t.relid FROM pg_partition_tree(r.oid) t) AS every(oid)
JOIN pg_class c ON c.oid = every.oid
JOIN pg_namespace cn ON cn.oid = c.relnamespace
WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')

-- :ties
-- What ties the tables ($1) to others: a statement that takes it off, and what it is in words.
SELECT format('ALTER TABLE %s DROP CONSTRAINT %I CASCADE', k.conrelid::regclass, k.conname) AS statement,
    format('the foreign key %I of %s', k.conname, k.conrelid::regclass) AS words
FROM pg_constraint k
WHERE k.contype = 'f' AND k.conparentid = 0 AND k.conrelid = ANY ($1::oid[]) AND k.confrelid <> ALL ($1::oid[])
UNION ALL
SELECT format('DROP TRIGGER %I ON %s', g.tgname, g.tgrelid::regclass), format('the trigger %I of %s', g.tgname, g.tgrelid::regclass)
FROM pg_trigger g WHERE NOT g.tgisinternal AND g.tgparentid = 0 AND g.tgrelid = ANY ($1::oid[])
UNION ALL
SELECT format('DROP RULE %I ON %s', r.rulename, r.ev_class::regclass), format('the rule %I of %s', r.rulename, r.ev_class::regclass)
FROM pg_rewrite r WHERE r.ev_class = ANY ($1::oid[])
UNION ALL
SELECT format('DROP POLICY %I ON %s', p.polname, p.polrelid::regclass),
    format('the policy %I of %s, which lets nobody but its owner see rows', p.polname, p.polrelid::regclass)
FROM pg_policy p WHERE p.polrelid = ANY ($1::oid[])
UNION ALL
SELECT CASE WHEN c.relispartition THEN format('ALTER TABLE %s DETACH PARTITION %s', i.inhparent::regclass, i.inhrelid::regclass)
        ELSE format('ALTER TABLE %s NO INHERIT %s', i.inhrelid::regclass, i.inhparent::regclass) END,
    format('that %s is a part of %s', i.inhrelid::regclass, i.inhparent::regclass)
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhrelid = ANY ($1::oid[]) AND i.inhparent <> ALL ($1::oid[])
UNION ALL
-- A default that draws from a sequence which no chosen table owns.
SELECT format('ALTER TABLE %s ALTER %I DROP DEFAULT', d.adrelid::regclass, a.attname),
    format('the default of the column %I of %s', a.attname, d.adrelid::regclass)
FROM pg_attrdef d
JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum AND a.attgenerated = ''
WHERE d.adrelid = ANY ($1::oid[]) AND EXISTS (SELECT FROM pg_depend u
    JOIN pg_class s ON s.oid = u.refobjid AND s.relkind = 'S'
    WHERE u.classid = 'pg_attrdef'::regclass AND u.objid = d.oid AND u.refclassid = 'pg_class'::regclass
        AND NOT EXISTS (SELECT FROM pg_depend o WHERE o.classid = 'pg_class'::regclass AND o.objid = s.oid
            AND o.deptype IN ('a', 'i') AND o.refobjid = ANY ($1::oid[])))

-- :others
-- How many others than superusers and this login may use a schema ($1).
SELECT count(*) FROM pg_roles r JOIN pg_namespace n ON n.nspname = $1::text
WHERE r.rolcanlogin AND NOT r.rolsuper AND r.rolname <> current_user AND has_schema_privilege(r.oid, n.oid, 'USAGE')
