-- What the offered catalogs show beyond the sections of catalog.sql, whose rules hold here too (PostgreSQL 14 to 18,
-- ordered by names). OIDs are returned of built-in types alone: they are the same in every database.

-- :database
-- The database's own name and encoding. Not part of the digest: a restored database may have another name.
SELECT d.datname::text AS name, d.encoding, pg_catalog.pg_encoding_to_char(d.encoding)::text AS encoding_name,
    d.datcollate::text AS collation, d.datctype::text AS character_type
FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()

-- :builtin_types
-- Every type of pg_catalog but the row types of its relations and their arrays.
SELECT t.oid::int8 AS oid, t.typname::text AS name, pg_catalog.format_type(t.oid, NULL) AS words, pg_catalog.format_type(t.oid, -1) AS exact,
    t.typlen::integer AS length, t.typbyval AS by_value, t.typtype::text AS kind, t.typcategory::text AS category,
    t.typispreferred AS preferred, t.typdelim::text AS delimiter, t.typelem::int8 AS element, t.typarray::int8 AS array,
    t.typalign::text AS alignment, t.typstorage::text AS storage, t.typcollation::int8 AS collation
FROM pg_catalog.pg_type t
WHERE t.typnamespace = 'pg_catalog'::pg_catalog.regnamespace AND t.typrelid = 0 AND t.oid < 16384
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_type item WHERE item.oid = t.typelem AND item.typrelid <> 0)
ORDER BY t.oid

-- :relation_details
-- One row for each row of `relations`.
SELECT n.nspname::text AS schema, c.relname::text AS name, c.relpersistence::text AS persistence, c.relrowsecurity AS row_security,
    c.relforcerowsecurity AS force_row_security, c.relispartition AS is_partition, c.relispopulated AS populated,
    c.relreplident::text AS replica_identity,
    -- It locks what it looks at, and of a table it says nothing new.
    CASE WHEN c.relkind IN ('r', 'p') THEN 28 ELSE pg_catalog.pg_relation_is_updatable(c.oid, false) END AS events,
    -- What a view's text names: relations, columns where it names some, and functions outside pg_catalog, also behind operators.
    ARRAY(SELECT DISTINCT ARRAY[un.nspname::text, u.relname::text, coalesce(a.attname::text, '')] AS used
        FROM pg_catalog.pg_rewrite r
        JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND d.objid = r.oid
            AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid <> c.oid
        JOIN pg_catalog.pg_class u ON u.oid = d.refobjid
        JOIN pg_catalog.pg_namespace un ON un.oid = u.relnamespace
        LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid AND a.attnum > 0
        WHERE r.ev_class = c.oid AND r.ev_type = '1' AND c.relkind IN ('v', 'm') ORDER BY used) AS uses,
    ARRAY(SELECT DISTINCT ARRAY[pn.nspname::text, p.proname::text] AS called
        FROM pg_catalog.pg_rewrite r
        JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND d.objid = r.oid
            AND d.refclassid IN ('pg_catalog.pg_proc'::pg_catalog.regclass, 'pg_catalog.pg_operator'::pg_catalog.regclass)
        LEFT JOIN pg_catalog.pg_operator o ON d.refclassid = 'pg_catalog.pg_operator'::pg_catalog.regclass AND o.oid = d.refobjid
        JOIN pg_catalog.pg_proc p ON p.oid = coalesce(o.oprcode::pg_catalog.oid, d.refobjid)
        JOIN pg_catalog.pg_namespace pn ON pn.oid = p.pronamespace
        WHERE r.ev_class = c.oid AND r.ev_type = '1' AND c.relkind IN ('v', 'm') AND pn.nspname <> 'pg_catalog' ORDER BY called) AS calls,
    CASE WHEN c.relkind IN ('v', 'm') THEN pg_catalog.pg_get_viewdef(c.oid) ELSE '' END AS definition,
    c.relkind = 'v' AND EXISTS (SELECT FROM pg_catalog.pg_options_to_table(c.reloptions) AS o
        WHERE CASE WHEN o.option_name = 'security_barrier' THEN o.option_value::boolean END) AS barrier,
    EXISTS (SELECT FROM pg_catalog.pg_rewrite r JOIN pg_catalog.pg_depend d
        ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND d.objid = r.oid
            AND d.refclassid = 'pg_catalog.pg_constraint'::pg_catalog.regclass
        WHERE r.ev_class = c.oid AND c.relkind IN ('v', 'm')) AS groups_by_key
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
    AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') AND n.nspname !~ '^pg_(toast_)?temp_'
ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"

-- :parents
-- Which relation inherits from which, partitions among them.
SELECT n.nspname::text AS schema, c.relname::text AS relation, pn.nspname::text AS parent_schema, p.relname::text AS parent
FROM pg_catalog.pg_inherits i
JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_class p ON p.oid = i.inhparent
JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace
WHERE c.relkind IN ('r', 'p', 'f') AND n.nspname !~ '^pg_(toast_)?temp_'
ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C", i.inhseqno

-- :column_details
-- One row for each row of `columns`.
SELECT n.nspname::text AS schema, c.relname::text AS relation, a.attname::text AS name, tn.nspname::text AS type_schema,
    t.typname::text AS type, a.atttypmod AS typmod, a.attidentity::text AS identity, a.attgenerated::text AS generated,
    a.atthasdef AS has_default, a.attislocal AS is_local,
    CASE WHEN a.attcollation IN (0, 100, 950, 951) THEN a.attcollation::int8 END AS collation,
    ARRAY(SELECT other.attname::text FROM pg_catalog.pg_attrdef f
        JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass AND d.objid = f.oid
            AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = a.attrelid AND d.refobjsubid <> a.attnum
        JOIN pg_catalog.pg_attribute other ON other.attrelid = a.attrelid AND other.attnum = d.refobjsubid
        WHERE a.attgenerated <> '' AND f.adrelid = a.attrelid AND f.adnum = a.attnum ORDER BY other.attnum) AS uses
FROM pg_catalog.pg_attribute a
JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
JOIN pg_catalog.pg_namespace tn ON tn.oid = t.typnamespace
WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
    AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') AND n.nspname !~ '^pg_(toast_)?temp_'
ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C", a.attnum

-- :constraints
-- Constraints of tables but NOT NULL, which pg_attribute says too. Copies of a foreign key for the partitions of its target
-- are left out. The functions are those outside pg_catalog that a check calls, also behind an operator.
SELECT n.nspname::text AS schema, c.relname::text AS relation, k.conname::text AS name, k.contype::text AS kind,
    pg_catalog.pg_get_constraintdef(k.oid) AS definition, tn.nspname::text AS target_schema, tc.relname::text AS target,
    coalesce(x.relname::text, '') AS index, k.confupdtype::text AS on_update, k.confdeltype::text AS on_delete, k.confmatchtype::text AS match,
    k.condeferrable AS deferrable, k.condeferred AS deferred, k.convalidated AS validated, k.connoinherit AS no_inherit,
    k.conislocal AS is_local, coalesce(0 = ANY (k.conkey), false) AS whole_row,
    ARRAY(SELECT a.attname::text FROM pg_catalog.unnest(k.conkey) WITH ORDINALITY AS u(num, place)
        JOIN pg_catalog.pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.num ORDER BY u.place) AS columns,
    ARRAY(SELECT a.attname::text FROM pg_catalog.unnest(k.confkey) WITH ORDINALITY AS u(num, place)
        JOIN pg_catalog.pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.num ORDER BY u.place) AS target_columns,
    ARRAY(SELECT DISTINCT ARRAY[pn.nspname::text, p.proname::text] AS called FROM pg_catalog.pg_depend d
        LEFT JOIN pg_catalog.pg_operator o ON d.refclassid = 'pg_catalog.pg_operator'::pg_catalog.regclass AND o.oid = d.refobjid
        JOIN pg_catalog.pg_proc p ON p.oid = coalesce(o.oprcode::pg_catalog.oid, d.refobjid)
        JOIN pg_catalog.pg_namespace pn ON pn.oid = p.pronamespace
        WHERE d.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass AND d.objid = k.oid
            AND d.refclassid IN ('pg_catalog.pg_proc'::pg_catalog.regclass, 'pg_catalog.pg_operator'::pg_catalog.regclass)
            AND pn.nspname <> 'pg_catalog' ORDER BY called) AS functions
FROM pg_catalog.pg_constraint k
JOIN pg_catalog.pg_class c ON c.oid = k.conrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_class tc ON tc.oid = k.confrelid
LEFT JOIN pg_catalog.pg_namespace tn ON tn.oid = tc.relnamespace
LEFT JOIN pg_catalog.pg_class x ON x.oid = k.conindid
WHERE k.contype IN ('p', 'u', 'f', 'c', 'x')
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint p WHERE p.oid = k.conparentid AND p.conrelid = k.conrelid)
    AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') AND n.nspname !~ '^pg_(toast_)?temp_'
ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C", k.conname COLLATE "C"

-- :index_details
-- One row for each row of `indexes`; an index has its table's schema.
SELECT n.nspname::text AS schema, x.relname::text AS name, m.amname::text AS method, i.indisprimary AS primary,
    i.indisexclusion AS exclusion, i.indimmediate AS immediate, i.indisclustered AS clustered, i.indisreplident AS replica_identity,
    i.indnkeyatts::integer AS key_count, i.indoption::text AS options,
    coalesce(pg_catalog.pg_get_expr(i.indexprs, i.indrelid), '') AS expressions, coalesce(pg_catalog.pg_get_expr(i.indpred, i.indrelid), '') AS predicate,
    ARRAY(SELECT pg_catalog.pg_get_indexdef(i.indexrelid, place, false) FROM pg_catalog.generate_series(1, i.indnatts) AS place
        ORDER BY place) AS parts,
    ARRAY(SELECT coalesce(a.attname::text, '') FROM pg_catalog.generate_series(0, i.indnatts - 1) AS place
        LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[place] AND a.attnum > 0
        ORDER BY place) AS columns
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
JOIN pg_catalog.pg_am m ON m.oid = x.relam
JOIN pg_catalog.pg_namespace n ON n.oid = x.relnamespace
WHERE i.indisvalid AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') AND n.nspname !~ '^pg_(toast_)?temp_'
ORDER BY n.nspname COLLATE "C", x.relname COLLATE "C"

-- :sequences
-- Sequences and the column that owns each; never their last value.
SELECT n.nspname::text AS schema, c.relname::text AS name, pg_catalog.format_type(s.seqtypid, NULL) AS type, s.seqstart AS start,
    s.seqmin AS minimum, s.seqmax AS maximum, s.seqincrement AS increment, s.seqcache AS cache, s.seqcycle AS cycle,
    tn.nspname::text AS owner_schema, t.relname::text AS owner, coalesce(a.attname::text, '') AS owner_column,
    coalesce(d.deptype = 'i', false) AS identity
FROM pg_catalog.pg_sequence s
JOIN pg_catalog.pg_class c ON c.oid = s.seqrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.objsubid = 0
    AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0
LEFT JOIN pg_catalog.pg_class t ON t.oid = d.refobjid
LEFT JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace
LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') AND n.nspname !~ '^pg_(toast_)?temp_'
ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"

-- :type_details
-- One row for each row of `types`.
SELECT n.nspname::text AS schema, t.typname::text AS name, coalesce(r.typname::text, '') AS array, t.typlen::integer AS length,
    t.typbyval AS by_value, t.typcategory::text AS category, t.typispreferred AS preferred, t.typdelim::text AS delimiter,
    bn.nspname::text AS base_schema, b.typname::text AS base, t.typtypmod AS typmod, t.typnotnull AS not_null,
    CASE WHEN t.typbasetype <> 0 THEN pg_catalog.format_type(t.typbasetype, t.typtypmod) ELSE '' END AS base_words
FROM pg_catalog.pg_type t
JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
LEFT JOIN pg_catalog.pg_type r ON r.oid = t.typarray
LEFT JOIN pg_catalog.pg_type b ON b.oid = t.typbasetype
LEFT JOIN pg_catalog.pg_namespace bn ON bn.oid = b.typnamespace
LEFT JOIN pg_catalog.pg_class c ON c.oid = t.typrelid
WHERE t.typtype IN ('b', 'e', 'd', 'c', 'r', 'm') AND coalesce(c.relkind, 'c') = 'c'
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_type item WHERE item.typarray = t.oid)
    AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') AND n.nspname !~ '^pg_(toast_)?temp_'
ORDER BY n.nspname COLLATE "C", t.typname COLLATE "C"

-- :function_details
-- One row for each row of `functions` outside pg_catalog and information_schema, in the same order.
SELECT n.nspname::text AS schema, p.proname::text AS name, pg_catalog.pg_get_function_identity_arguments(p.oid) AS identity_arguments,
    rn.nspname::text AS result_schema, r.typname::text AS result, p.proretset AS returns_set, p.proisstrict AS strict,
    p.proleakproof AS leakproof, p.proparallel::text AS parallel, p.procost::float8 AS cost, p.prorows::float8 AS rows,
    coalesce(p.proargnames, '{}') AS names, coalesce(p.proargmodes::text[], '{}') AS modes,
    ARRAY(SELECT ARRAY[tn.nspname::text, t.typname::text] FROM pg_catalog.unnest(coalesce(p.proallargtypes, p.proargtypes::pg_catalog.oid[])) WITH ORDINALITY AS u(oid, place)
        JOIN pg_catalog.pg_type t ON t.oid = u.oid JOIN pg_catalog.pg_namespace tn ON tn.oid = t.typnamespace ORDER BY u.place) AS types
FROM pg_catalog.pg_proc p
JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
JOIN pg_catalog.pg_type r ON r.oid = p.prorettype
JOIN pg_catalog.pg_namespace rn ON rn.oid = r.typnamespace
WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_(toast_)?temp_'
ORDER BY n.nspname COLLATE "C", p.proname COLLATE "C", pg_catalog.pg_get_function_identity_arguments(p.oid) COLLATE "C"

-- :extension_schemas
-- Where each extension's things are.
SELECT e.extname::text AS name, n.nspname::text AS schema
FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
ORDER BY e.extname COLLATE "C"

-- :catalog_columns
-- The columns of the server's own relations, which differ between versions.
SELECT n.nspname::text AS schema, c.relname::text AS name, pg_catalog.array_agg(a.attname::text ORDER BY a.attnum) AS columns
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
WHERE n.nspname IN ('pg_catalog', 'information_schema') AND c.relkind IN ('r', 'v') AND c.oid < 16384
GROUP BY n.nspname, c.relname
ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"
