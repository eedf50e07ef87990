-- Reads a PostgreSQL catalog (14 to 18) for the snapshot. One section a query, `catalog.py` splits at the names.
-- No section here but those of marks returns an OID and each is ordered by names in the C collation, so that the digest of its rows is the
-- same for every process and after a dump and restore. Temporary and TOAST schemas never appear.

-- :stamp
-- Changes whenever a row of a catalog that the other sections read has changed; a refresh that finds it unchanged stops here.
SELECT pg_catalog.md5(pg_catalog.string_agg(part, ',' ORDER BY part COLLATE "C")) AS stamp
FROM (
    SELECT 'n' || pg_catalog.sum(pg_catalog.hashtextextended(n.xmin::text || '/' || n.oid::text, 0)) AS part FROM pg_catalog.pg_namespace n
    UNION ALL
    SELECT 'c' || pg_catalog.sum(pg_catalog.hashtextextended(c.xmin::text || '/' || c.oid::text || '/' || c.reltuples::text, 0)) FROM pg_catalog.pg_class c
    UNION ALL
    SELECT 'a' || pg_catalog.sum(pg_catalog.hashtextextended(a.xmin::text || '/' || a.attrelid::text || '/' || a.attnum::text, 0))
    FROM pg_catalog.pg_attribute a
    UNION ALL
    SELECT 'd' || pg_catalog.sum(pg_catalog.hashtextextended(d.xmin::text || '/' || d.oid::text, 0)) FROM pg_catalog.pg_attrdef d
    UNION ALL
    SELECT 'k' || pg_catalog.sum(pg_catalog.hashtextextended(k.xmin::text || '/' || k.oid::text, 0)) FROM pg_catalog.pg_constraint k
    UNION ALL
    SELECT 'i' || pg_catalog.sum(pg_catalog.hashtextextended(i.xmin::text || '/' || i.indexrelid::text, 0)) FROM pg_catalog.pg_index i
    UNION ALL
    SELECT 'p' || pg_catalog.sum(pg_catalog.hashtextextended(p.xmin::text || '/' || p.oid::text, 0)) FROM pg_catalog.pg_proc p
    UNION ALL
    SELECT 't' || pg_catalog.sum(pg_catalog.hashtextextended(t.xmin::text || '/' || t.oid::text, 0)) FROM pg_catalog.pg_type t
    UNION ALL
    SELECT 'e' || pg_catalog.sum(pg_catalog.hashtextextended(e.xmin::text || '/' || e.oid::text, 0)) FROM pg_catalog.pg_enum e
    UNION ALL
    SELECT 's' || pg_catalog.sum(pg_catalog.hashtextextended(s.xmin::text || '/' || s.castsource::text || '/' || s.casttarget::text, 0))
    FROM pg_catalog.pg_cast s
    UNION ALL
    SELECT 'o' || pg_catalog.sum(pg_catalog.hashtextextended(o.xmin::text || '/' || o.oid::text, 0)) FROM pg_catalog.pg_operator o
    UNION ALL
    SELECT 'r' || pg_catalog.sum(pg_catalog.hashtextextended(r.xmin::text || '/' || r.oid::text, 0)) FROM pg_catalog.pg_rewrite r
    UNION ALL
    SELECT 'l' || pg_catalog.sum(pg_catalog.hashtextextended(l.xmin::text || '/' || l.oid::text, 0)) FROM pg_catalog.pg_policy l
    UNION ALL
    SELECT 'f' || pg_catalog.sum(pg_catalog.hashtextextended(f.xmin::text || '/' || f.oid::text, 0)) FROM pg_catalog.pg_amproc f
    UNION ALL
    SELECT 'm' || pg_catalog.sum(pg_catalog.hashtextextended(m.xmin::text || '/' || m.oid::text, 0)) FROM pg_catalog.pg_amop m
    UNION ALL
    SELECT 'g' || pg_catalog.sum(pg_catalog.hashtextextended(g.xmin::text || '/' || g.oid::text, 0)) FROM pg_catalog.pg_trigger g
    UNION ALL
    SELECT 'b' || pg_catalog.sum(pg_catalog.hashtextextended(b.xmin::text || '/' || b.inhrelid::text || '/' || b.inhparent::text, 0))
    FROM pg_catalog.pg_inherits b
    UNION ALL
    SELECT 'w' || pg_catalog.sum(pg_catalog.hashtextextended(w.xmin::text || '/' || w.oid::text, 0)) FROM pg_catalog.pg_foreign_data_wrapper w
    UNION ALL
    SELECT 'x' || pg_catalog.sum(pg_catalog.hashtextextended(x.xmin::text || '/' || x.oid::text, 0)) FROM pg_catalog.pg_extension x
    UNION ALL
    SELECT 'q' || pg_catalog.sum(pg_catalog.hashtextextended(q.xmin::text || '/' || q.seqrelid::text, 0)) FROM pg_catalog.pg_sequence q
    UNION ALL
    SELECT 'j' || pg_catalog.sum(pg_catalog.hashtextextended(j.xmin::text || '/' || j.inhrelid::text || '/' || j.inhseqno::text, 0))
    FROM pg_catalog.pg_inherits j
    UNION ALL
    SELECT 'h' || pg_catalog.sum(pg_catalog.hashtextextended(h.xmin::text || '/' || h.objoid::text || '/' || h.objsubid::text, 0))
    FROM pg_catalog.pg_description h
) AS parts

-- :server
-- The server's version as a number, such as 180006.
SELECT pg_catalog.current_setting('server_version_num')::integer AS version

-- :schemas
-- Every schema of users and extensions, with its comment.
SELECT n.nspname::text AS name, coalesce(pg_catalog.obj_description(n.oid, 'pg_namespace'), '') AS comment
FROM pg_catalog.pg_namespace n
WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') AND n.nspname !~ '^pg_(toast_)?temp_'
ORDER BY n.nspname COLLATE "C"

-- :relations
-- Every relation that can stand in FROM: tables, partitioned tables, views, materialised views, foreign tables.
SELECT n.nspname::text AS schema, c.relname::text AS name, c.relkind::text AS kind, c.relhassubclass AS has_children,
    c.relrowsecurity AS row_security,
    EXISTS (SELECT FROM pg_catalog.pg_rewrite r WHERE r.ev_class = c.oid AND r.rulename <> '_RETURN') AS rewritten,
    coalesce(pg_catalog.obj_description(c.oid, 'pg_class'), '') AS comment
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
    AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') AND n.nspname !~ '^pg_(toast_)?temp_'
ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"

-- :estimates
-- The planner's row estimates; a negative one means never analysed.
SELECT n.nspname::text AS schema, c.relname::text AS name, c.reltuples::float8 AS rows
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'm', 'f') AND c.reltuples >= 0
    AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') AND n.nspname !~ '^pg_(toast_)?temp_'

-- :columns
-- Every live column of those relations, in the table's order.
SELECT n.nspname::text AS schema, c.relname::text AS relation, a.attname::text AS name,
    pg_catalog.format_type(a.atttypid, a.atttypmod) AS type, tn.nspname::text AS type_schema, t.typname::text AS type_name,
    -- From version 18 on the mark may stand for a constraint that rows from before may break.
    a.attnotnull AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint k
        WHERE k.conrelid = a.attrelid AND k.contype = 'n' AND NOT k.convalidated AND a.attnum = ANY (k.conkey)) AS not_null,
    coalesce(pg_catalog.pg_get_expr(d.adbin, d.adrelid), '') AS default,
    a.attgenerated <> '' OR a.attidentity <> '' AS generated, a.attgenerated = 'v' OR c.relkind IN ('v', 'f') AS computed,
    NOT EXISTS (SELECT FROM pg_catalog.pg_collation k WHERE k.oid = a.attcollation AND NOT k.collisdeterministic) AS deterministic,
    coalesce(pg_catalog.col_description(c.oid, a.attnum), '') AS comment
FROM pg_catalog.pg_attribute a
JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
JOIN pg_catalog.pg_namespace tn ON tn.oid = t.typnamespace
LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
    AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') AND n.nspname !~ '^pg_(toast_)?temp_'
ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C", a.attnum

-- :foreign_keys
-- Every foreign key once: the copies that PostgreSQL keeps for each partition of a referenced table are left out.
SELECT n.nspname::text AS schema, c.relname::text AS relation, k.conname::text AS name,
    tn.nspname::text AS target_schema, tc.relname::text AS target_table,
    k.confdeltype::text AS on_delete, k.confupdtype::text AS on_update,
    ARRAY(SELECT a.attname::text FROM pg_catalog.unnest(k.conkey) WITH ORDINALITY AS u(num, place)
        JOIN pg_catalog.pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.num ORDER BY u.place) AS columns,
    ARRAY(SELECT a.attname::text FROM pg_catalog.unnest(k.confkey) WITH ORDINALITY AS u(num, place)
        JOIN pg_catalog.pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.num ORDER BY u.place) AS target_columns
FROM pg_catalog.pg_constraint k
JOIN pg_catalog.pg_class c ON c.oid = k.conrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_class tc ON tc.oid = k.confrelid
JOIN pg_catalog.pg_namespace tn ON tn.oid = tc.relnamespace
WHERE k.contype = 'f'
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint p WHERE p.oid = k.conparentid AND p.conrelid = k.conrelid)
    AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') AND n.nspname !~ '^pg_(toast_)?temp_'
ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C", k.conname COLLATE "C"

-- :triggers
-- Every trigger of a user that rows set going and that is not disabled; those that keep foreign keys are PostgreSQL's own.
SELECT n.nspname::text AS schema, c.relname::text AS relation, t.tgname::text AS name,
    pn.nspname::text AS function_schema, p.proname::text AS function,
    t.tgtype & 4 <> 0 AS inserts, t.tgtype & 8 <> 0 AS deletes, t.tgtype & 16 <> 0 AS updates
FROM pg_catalog.pg_trigger t
JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid
JOIN pg_catalog.pg_namespace pn ON pn.oid = p.pronamespace
WHERE NOT t.tgisinternal AND t.tgenabled <> 'D' AND t.tgtype & 28 <> 0
    AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') AND n.nspname !~ '^pg_(toast_)?temp_'
ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C", t.tgname COLLATE "C"

-- :indexes
-- Every valid index: its definition from USING on, its key columns in order, and every column it names anywhere.
-- pg_depend knows the columns of expressions and predicates; a dependency on the whole row counts as all columns.
SELECT n.nspname::text AS schema, c.relname::text AS relation, x.relname::text AS name,
    i.indisunique AS "unique", i.indisprimary AS "primary",
    i.indisunique AND i.indpred IS NULL AND i.indexprs IS NULL AS is_key,
    pg_catalog.split_part(pg_catalog.pg_get_indexdef(i.indexrelid), pg_catalog.format(' %I.%I USING ', n.nspname, c.relname), 2) AS definition,
    ARRAY(SELECT a.attname::text FROM pg_catalog.generate_series(0, i.indnkeyatts - 1) AS place
        JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[place] AND a.attnum > 0
        ORDER BY place) AS key_columns,
    ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a
        WHERE a.attrelid = i.indrelid AND a.attnum > 0 AND NOT a.attisdropped
            AND (a.attnum = ANY (i.indkey::pg_catalog.int2[])
                OR EXISTS (SELECT FROM pg_catalog.pg_depend d
                    WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = i.indexrelid
                        AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = i.indrelid
                        AND (d.refobjsubid = a.attnum OR d.refobjsubid = 0)))
        ORDER BY a.attnum) AS all_columns
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
JOIN pg_catalog.pg_class c ON c.oid = i.indrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE i.indisvalid AND c.relkind IN ('r', 'p', 'm')
    AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') AND n.nspname !~ '^pg_(toast_)?temp_'
ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C", x.relname COLLATE "C"

-- :functions
-- Every overload of every function, those of pg_catalog included; comments only where they are not PostgreSQL's own.
-- PostgreSQL calls every aggregate immutable and internal: what it may do is what the functions it is made of may do, and
-- immutable built-ins may do nothing.
SELECT n.nspname::text AS schema, p.proname::text AS name, pg_catalog.pg_get_function_arguments(p.oid) AS arguments,
    coalesce(pg_catalog.pg_get_function_result(p.oid), '') AS result, p.prokind::text AS kind, greatest(p.provolatile::text, parts.volatility) AS volatility,
    CASE WHEN p.prokind = 'a' THEN coalesce(parts.languages, ARRAY[]::text[]) ELSE ARRAY[l.lanname::text] END AS languages,
    pg_catalog.pg_get_userbyid(p.proowner)::text AS owner, p.prosecdef OR coalesce(parts.security_definer, false) AS security_definer, coalesce(e.extname::text, '') AS extension,
    CASE WHEN n.nspname IN ('pg_catalog', 'information_schema') THEN '' ELSE coalesce(pg_catalog.obj_description(p.oid, 'pg_proc'), '') END AS comment,
    p.pronargs::integer AS argument_count, p.pronargdefaults::integer AS default_count, p.provariadic <> 0 AS variadic,
    ARRAY(SELECT coalesce(p.proargnames[place], '') FROM pg_catalog.generate_subscripts(p.proargmodes, 1) AS place
        WHERE p.proargmodes[place] IN ('o', 'b', 't') ORDER BY place) AS output_columns
FROM pg_catalog.pg_proc p
JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
JOIN pg_catalog.pg_language l ON l.oid = p.prolang
LEFT JOIN LATERAL (
    -- The letters of volatility sort from harmless to volatile.
    SELECT pg_catalog.max(s.provolatile::text) AS volatility, pg_catalog.bool_or(s.prosecdef) AS security_definer,
        pg_catalog.array_agg(DISTINCT sl.lanname::text)
            FILTER (WHERE s.pronamespace <> 'pg_catalog'::pg_catalog.regnamespace OR s.provolatile <> 'i') AS languages
    FROM pg_catalog.pg_aggregate a
    CROSS JOIN LATERAL pg_catalog.unnest(ARRAY[a.aggtransfn, a.aggfinalfn, a.aggcombinefn, a.aggserialfn, a.aggdeserialfn,
        a.aggmtransfn, a.aggminvtransfn, a.aggmfinalfn]::pg_catalog.oid[]) AS part
    JOIN pg_catalog.pg_proc s ON s.oid = part
    JOIN pg_catalog.pg_language sl ON sl.oid = s.prolang
    WHERE a.aggfnoid = p.oid AND p.prokind = 'a'
) parts ON true
LEFT JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.objid = p.oid AND d.deptype = 'e'
    AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass
LEFT JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid
WHERE n.nspname !~ '^pg_(toast_)?temp_'
ORDER BY n.nspname COLLATE "C", p.proname COLLATE "C", pg_catalog.pg_get_function_identity_arguments(p.oid) COLLATE "C"

-- :relation_oids
-- Which relations there are, in this database alone.
SELECT c.oid::int8 AS oid FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
    AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') AND n.nspname !~ '^pg_(toast_)?temp_'

-- :relation_mark
-- What a relation (`c`, of pg_class) is made of and called on our search path, in a word that changes when it is redefined, renamed,
-- commented anew or gets or loses a part, and not when it is analysed, filled or refreshed. Every call asks again, and most of the cost is planning:
-- there is no join, arrays in the order of an index need neither a sort nor an aggregate, and 1259 is pg_class in every server.
pg_catalog.md5(pg_catalog.concat_ws('/', c.oid, c.oid::pg_catalog.regclass, c.relkind, c.relowner, c.relrowsecurity, c.relforcerowsecurity,
    ARRAY(SELECT a.xmin FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 ORDER BY a.attnum),
    ARRAY(SELECT i.inhrelid FROM pg_catalog.pg_inherits i WHERE i.inhparent = c.oid ORDER BY i.inhrelid),
    ARRAY(SELECT r.xmin FROM pg_catalog.pg_rewrite r WHERE r.ev_class = c.oid ORDER BY r.rulename),
    ARRAY(SELECT t.xmin FROM pg_catalog.pg_trigger t WHERE t.tgrelid = c.oid ORDER BY t.tgname),
    ARRAY(SELECT f.xmin FROM pg_catalog.pg_attrdef f WHERE f.adrelid = c.oid ORDER BY f.adnum),
    ARRAY(SELECT d.xmin FROM pg_catalog.pg_description d WHERE d.objoid = c.oid AND d.classoid = 1259 ORDER BY d.objsubid)))

-- :function_marks
-- The same for functions ($1, $2: schemas and names), all overloads together: a new one may be called in place of an old one.
SELECT 0::int8 AS oid, n.nspname::text AS schema, p.proname::text AS name,
    pg_catalog.md5(pg_catalog.string_agg(pg_catalog.concat(p.oid, ':', p.xmin), ',' ORDER BY p.oid)) AS mark
FROM ROWS FROM (pg_catalog.unnest($1::pg_catalog.name[]), pg_catalog.unnest($2::pg_catalog.name[])) AS wanted (schema, name)
JOIN pg_catalog.pg_namespace n ON n.nspname = wanted.schema
JOIN pg_catalog.pg_proc p ON p.proname = wanted.name AND p.pronamespace = n.oid
GROUP BY n.nspname, p.proname

-- :types
-- Types that users and extensions made; array types and the row types of relations are left out.
SELECT n.nspname::text AS schema, t.typname::text AS name, t.typtype::text AS kind, coalesce(e.extname::text, '') AS extension,
    coalesce(pg_catalog.obj_description(t.oid, 'pg_type'), '') AS comment,
    ARRAY(SELECT v.enumlabel::text FROM pg_catalog.pg_enum v WHERE v.enumtypid = t.oid ORDER BY v.enumsortorder) AS labels,
    coalesce(bn.nspname::text, '') AS base_schema, coalesce(b.typname::text, '') AS base
FROM pg_catalog.pg_type t
JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
LEFT JOIN pg_catalog.pg_type b ON b.oid = t.typbasetype
LEFT JOIN pg_catalog.pg_namespace bn ON bn.oid = b.typnamespace
LEFT JOIN pg_catalog.pg_class c ON c.oid = t.typrelid
LEFT JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_type'::pg_catalog.regclass AND d.objid = t.oid AND d.deptype = 'e'
    AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass
LEFT JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid
WHERE t.typtype IN ('b', 'e', 'd', 'c', 'r', 'm') AND coalesce(c.relkind, 'c') = 'c'
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_type item WHERE item.typarray = t.oid)
    AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') AND n.nspname !~ '^pg_(toast_)?temp_'
ORDER BY n.nspname COLLATE "C", t.typname COLLATE "C"

-- :operators
-- Operators outside pg_catalog, with the types each takes and the function behind it.
SELECT n.nspname::text AS schema, o.oprname::text AS name, pn.nspname::text AS function_schema, p.proname::text AS function,
    coalesce(ln.nspname::text, '') AS left_schema, coalesce(lt.typname::text, '') AS left_type, rn.nspname::text AS right_schema, rt.typname::text AS right_type
FROM pg_catalog.pg_operator o
JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace
JOIN pg_catalog.pg_proc p ON p.oid = o.oprcode
JOIN pg_catalog.pg_namespace pn ON pn.oid = p.pronamespace
LEFT JOIN pg_catalog.pg_type lt ON lt.oid = o.oprleft
LEFT JOIN pg_catalog.pg_namespace ln ON ln.oid = lt.typnamespace
JOIN pg_catalog.pg_type rt ON rt.oid = o.oprright
JOIN pg_catalog.pg_namespace rn ON rn.oid = rt.typnamespace
WHERE n.nspname <> 'pg_catalog' AND n.nspname !~ '^pg_(toast_)?temp_'
ORDER BY n.nspname COLLATE "C", o.oprname COLLATE "C", pn.nspname COLLATE "C", p.proname COLLATE "C",
    ln.nspname COLLATE "C", lt.typname COLLATE "C", rn.nspname COLLATE "C", rt.typname COLLATE "C"

-- :extensions
-- Installed extensions and their versions.
SELECT e.extname::text AS name, e.extversion AS version FROM pg_catalog.pg_extension e ORDER BY e.extname COLLATE "C"
