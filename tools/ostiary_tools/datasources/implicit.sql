-- Reads what runs without being written: which functions stand behind views, policies, columns, types and functions.
-- As in catalog.sql no section returns an OID, each is ordered by names in the C collation. Schemas of PostgreSQL's own
-- are never a starting point: what their views and types run is reviewed as a whole.

-- :uses
-- One edge a row: a thing and what it runs, reads or is made of. `part` is the name of a column; the one thing of kind
-- `server` stands for what any statement may run, a `row` for a relation and all its columns.
-- What is no built-in stands in pg_depend. Built-ins do not, so their numbers are taken from the stored trees, and only
-- those that may do more than compute. A value of a type may run the type's input and output, its comparisons, its
-- implicit casts and those to JSON, which to_json looks for; C code that an extension brought for that is as much part
-- of the server as a built-in type's and is left out.
WITH system (schema) AS (
    SELECT n.oid FROM pg_catalog.pg_namespace n WHERE n.nspname IN ('pg_catalog', 'information_schema', 'pg_toast') OR n.nspname ~ '^pg_(toast_)?temp_'
), own_type (oid) AS (
    SELECT t.oid FROM pg_catalog.pg_type t WHERE t.typnamespace NOT IN (SELECT schema FROM system)
), support (oid) AS (
    SELECT p.oid FROM pg_catalog.pg_proc p
    WHERE p.pronamespace <> 'pg_catalog'::pg_catalog.regnamespace AND NOT (
        p.prolang IN (SELECT l.oid FROM pg_catalog.pg_language l WHERE l.lanname IN ('c', 'internal'))
        AND EXISTS (SELECT FROM pg_catalog.pg_depend d
            WHERE d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.objid = p.oid AND d.deptype = 'e'))
), expression (kind, object, part, class, id, tree) AS (
    SELECT 'relation', c.oid, 0, 'pg_catalog.pg_rewrite'::pg_catalog.regclass, r.oid, r.ev_action::text
    FROM pg_catalog.pg_rewrite r JOIN pg_catalog.pg_class c ON c.oid = r.ev_class
    WHERE c.relkind = 'v' AND c.relnamespace NOT IN (SELECT schema FROM system)
    UNION ALL
    SELECT 'relation', c.oid, 0, 'pg_catalog.pg_policy'::pg_catalog.regclass, p.oid, p.polqual::text
    FROM pg_catalog.pg_policy p JOIN pg_catalog.pg_class c ON c.oid = p.polrelid
    WHERE c.relrowsecurity AND p.polcmd IN ('r', '*')
    UNION ALL
    SELECT 'column', a.attrelid, a.attnum, 'pg_catalog.pg_attrdef'::pg_catalog.regclass, d.oid, d.adbin::text
    FROM pg_catalog.pg_attrdef d JOIN pg_catalog.pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
    WHERE a.attgenerated = 'v'
    UNION ALL
    -- What writing a row computes: stored columns, checks, indexes, the keys of partitions, conditions of policies and triggers.
    SELECT 'written', d.adrelid, 0, 'pg_catalog.pg_attrdef'::pg_catalog.regclass, d.oid, d.adbin::text
    FROM pg_catalog.pg_attrdef d JOIN pg_catalog.pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
    WHERE a.attgenerated <> ''
    UNION ALL
    SELECT 'written', k.conrelid, 0, 'pg_catalog.pg_constraint'::pg_catalog.regclass, k.oid, k.conbin::text
    FROM pg_catalog.pg_constraint k WHERE k.contype = 'c' AND k.conrelid <> 0
    UNION ALL
    SELECT 'written', i.indrelid, 0, 'pg_catalog.pg_class'::pg_catalog.regclass, i.indexrelid, pg_catalog.concat(i.indexprs::text, i.indpred::text)
    FROM pg_catalog.pg_index i WHERE i.indexprs IS NOT NULL OR i.indpred IS NOT NULL
    UNION ALL
    SELECT 'written', p.partrelid, 0, 'pg_catalog.pg_class'::pg_catalog.regclass, p.partrelid, p.partexprs::text
    FROM pg_catalog.pg_partitioned_table p WHERE p.partexprs IS NOT NULL
    UNION ALL
    SELECT 'written', p.polrelid, 0, 'pg_catalog.pg_policy'::pg_catalog.regclass, p.oid, pg_catalog.concat(p.polqual::text, p.polwithcheck::text)
    FROM pg_catalog.pg_policy p JOIN pg_catalog.pg_class c ON c.oid = p.polrelid WHERE c.relrowsecurity
    UNION ALL
    SELECT 'written', t.tgrelid, 0, 'pg_catalog.pg_trigger'::pg_catalog.regclass, t.oid, t.tgqual::text
    FROM pg_catalog.pg_trigger t WHERE NOT t.tgisinternal AND t.tgenabled <> 'D' AND t.tgqual IS NOT NULL
    UNION ALL
    -- What a column gets that is not given a value.
    SELECT 'filled', d.adrelid, d.adnum, 'pg_catalog.pg_attrdef'::pg_catalog.regclass, d.oid, d.adbin::text
    FROM pg_catalog.pg_attrdef d JOIN pg_catalog.pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
    WHERE a.attgenerated = ''
    UNION ALL
    SELECT 'filled', a.attrelid, a.attnum, 'pg_catalog.pg_type'::pg_catalog.regclass, t.oid, t.typdefaultbin::text
    FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p')
    JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
    WHERE a.attnum > 0 AND NOT a.attisdropped AND NOT a.atthasdef AND t.typdefaultbin IS NOT NULL
    UNION ALL
    SELECT 'type', k.contypid, 0, 'pg_catalog.pg_constraint'::pg_catalog.regclass, k.oid, k.conbin::text
    FROM pg_catalog.pg_constraint k JOIN own_type o ON o.oid = k.contypid
    UNION ALL
    -- Defaults of arguments; a body in standard SQL has its dependencies in the same place and counts with them.
    SELECT 'function', p.oid, 0, 'pg_catalog.pg_proc'::pg_catalog.regclass, p.oid, p.proargdefaults::text
    FROM pg_catalog.pg_proc p WHERE p.pronargdefaults > 0 AND p.pronamespace NOT IN (SELECT schema FROM system)
), depends (kind, object, part, class, id, column_number) AS (
    SELECT DISTINCT e.kind, e.object, e.part, d.refclassid, d.refobjid, d.refobjsubid
    FROM expression e JOIN pg_catalog.pg_depend d ON d.classid = e.class AND d.objid = e.id
), operated (kind, object, part, function) AS (
    SELECT d.kind, d.object, d.part, d.id FROM depends d
    LEFT JOIN pg_catalog.pg_proc p ON d.kind = 'function' AND p.oid = d.object
    WHERE d.class = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.id IS DISTINCT FROM p.prosupport::oid
    UNION
    SELECT d.kind, d.object, d.part, o.oprcode::oid FROM depends d JOIN pg_catalog.pg_operator o
        ON d.class = 'pg_catalog.pg_operator'::pg_catalog.regclass AND o.oid = d.id
), compared (type, function) AS (
    SELECT unnest.type, f.amproc::oid FROM pg_catalog.pg_amproc f
    CROSS JOIN LATERAL pg_catalog.unnest(ARRAY[f.amproclefttype, f.amprocrighttype]) AS unnest(type)
    UNION
    SELECT unnest.type, o.oprcode::oid FROM pg_catalog.pg_amop a JOIN pg_catalog.pg_operator o ON o.oid = a.amopopr
    JOIN pg_catalog.pg_am m ON m.oid = a.amopmethod AND m.amname IN ('btree', 'hash')
    CROSS JOIN LATERAL pg_catalog.unnest(ARRAY[a.amoplefttype, a.amoprighttype]) AS unnest(type)
    UNION
    SELECT unnest.type, s.castfunc FROM pg_catalog.pg_cast s
    CROSS JOIN LATERAL pg_catalog.unnest(ARRAY[s.castsource, s.casttarget]) AS unnest(type)
    WHERE s.castcontext = 'i' OR s.casttarget IN ('pg_catalog.json'::pg_catalog.regtype, 'pg_catalog.jsonb'::pg_catalog.regtype)
), whole (kind, object, part) AS (
    -- A reference to a whole row names no column.
    SELECT DISTINCT e.kind, e.object, e.part FROM expression e WHERE pg_catalog.strpos(e.tree, ':varattno 0 ') > 0
), edge (kind, object, part, used_kind, used, used_part) AS (
    SELECT o.kind, o.object, o.part, 'function', o.function, 0 FROM operated o WHERE o.kind <> 'function' OR o.function <> o.object
    UNION
    SELECT e.kind, e.object, e.part, 'function', p.oid, 0
    FROM expression e
    CROSS JOIN LATERAL pg_catalog.regexp_matches(e.tree, ':(?:funcid|aggfnoid|winfnoid) ([0-9]+)', 'g') AS called
    JOIN pg_catalog.pg_proc p ON p.oid = called[1]::oid
    WHERE p.pronamespace = 'pg_catalog'::pg_catalog.regnamespace AND p.provolatile <> 'i'
    UNION
    SELECT d.kind, d.object, d.part, 'type', o.oid, 0 FROM depends d JOIN own_type o
        ON d.class = 'pg_catalog.pg_type'::pg_catalog.regclass AND o.oid = d.id
    UNION
    SELECT d.kind, d.object, d.part, used.kind, c.oid, used.part
    FROM depends d JOIN pg_catalog.pg_class c ON d.class = 'pg_catalog.pg_class'::pg_catalog.regclass AND c.oid = d.id
        AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.oid <> d.object
    -- PostgreSQL keeps no dependency on a table beside one on its column.
    CROSS JOIN LATERAL (SELECT 'relation' AS kind, 0 AS part UNION ALL SELECT 'column', d.column_number WHERE d.column_number > 0) AS used
    UNION
    SELECT d.kind, d.object, d.part, 'row', d.id, 0 FROM depends d JOIN whole USING (kind, object, part)
    WHERE d.class = 'pg_catalog.pg_class'::pg_catalog.regclass
    UNION
    SELECT 'relation', i.inhparent, 0, 'relation', i.inhrelid, 0 FROM pg_catalog.pg_inherits i
    UNION
    -- A child may compute a column of its parent in a way of its own.
    SELECT 'column', i.inhparent, a.attnum, 'column', i.inhrelid, c.attnum
    FROM pg_catalog.pg_inherits i
    JOIN pg_catalog.pg_attribute c ON c.attrelid = i.inhrelid AND c.attgenerated = 'v'
    JOIN pg_catalog.pg_attribute a ON a.attrelid = i.inhparent AND a.attname = c.attname
    UNION
    SELECT 'relation', t.ftrelid, 0, 'function', w.fdwhandler, 0
    FROM pg_catalog.pg_foreign_table t
    JOIN pg_catalog.pg_foreign_server s ON s.oid = t.ftserver
    JOIN pg_catalog.pg_foreign_data_wrapper w ON w.oid = s.srvfdw
    UNION
    SELECT 'column', a.attrelid, a.attnum, 'type', a.atttypid, 0
    FROM pg_catalog.pg_attribute a JOIN own_type o ON o.oid = a.atttypid WHERE a.attnum > 0 AND NOT a.attisdropped
    UNION
    SELECT 'function', p.oid, 0, 'type', o.oid, 0
    FROM pg_catalog.pg_proc p
    CROSS JOIN LATERAL pg_catalog.unnest(coalesce(p.proallargtypes, p.proargtypes::pg_catalog.oid[]) || p.prorettype) AS used(type)
    JOIN own_type o ON o.oid = used.type
    UNION
    SELECT 'type', t.oid, 0, 'type', inner_type.oid, 0
    FROM pg_catalog.pg_type t
    JOIN own_type o ON o.oid = t.oid
    CROSS JOIN LATERAL (
        SELECT t.typbasetype AS oid WHERE t.typbasetype <> 0
        UNION ALL SELECT t.typelem WHERE t.typelem <> 0
        UNION ALL SELECT a.atttypid FROM pg_catalog.pg_attribute a WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
        UNION ALL SELECT r.rngsubtype FROM pg_catalog.pg_range r WHERE t.oid IN (r.rngtypid, r.rngmultitypid)
    ) AS inner_type
    UNION
    SELECT 'type', t.oid, 0, 'function', run.function, 0
    FROM pg_catalog.pg_type t
    JOIN own_type o ON o.oid = t.oid
    CROSS JOIN LATERAL (
        SELECT pg_catalog.unnest(ARRAY[t.typinput, t.typoutput, t.typmodin, t.typmodout, t.typsubscript]::pg_catalog.oid[]) AS function
        UNION ALL SELECT pg_catalog.unnest(ARRAY[r.rngcanonical, r.rngsubdiff]::pg_catalog.oid[])
            FROM pg_catalog.pg_range r WHERE t.oid IN (r.rngtypid, r.rngmultitypid)
    ) AS run
    JOIN support s ON s.oid = run.function
    UNION
    SELECT 'type', c.type, 0, 'function', c.function, 0
    FROM compared c JOIN own_type o ON o.oid = c.type JOIN support s ON s.oid = c.function
    UNION
    -- An owner's comparison or implicit cast for types of PostgreSQL's own may run in any statement.
    SELECT 'server', 0::pg_catalog.oid, 0, 'function', c.function, 0
    FROM compared c JOIN support s ON s.oid = c.function
    GROUP BY c.function
    HAVING pg_catalog.bool_and(c.type NOT IN (SELECT oid FROM own_type))
)
SELECT e.kind, coalesce(n.nspname::text, '') COLLATE "C" AS schema, coalesce(c.relname::text, p.proname::text, t.typname::text, '') COLLATE "C" AS name,
    coalesce(a.attname::text, '') COLLATE "C" AS part, e.used_kind, un.nspname::text COLLATE "C" AS used_schema,
    coalesce(uc.relname, up.proname, ut.typname)::text COLLATE "C" AS used_name, coalesce(ua.attname::text, '') COLLATE "C" AS used_part
FROM edge e
LEFT JOIN pg_catalog.pg_class c ON e.kind IN ('relation', 'column', 'written', 'filled') AND c.oid = e.object
LEFT JOIN pg_catalog.pg_attribute a ON e.kind IN ('column', 'filled') AND a.attrelid = e.object AND a.attnum = e.part
LEFT JOIN pg_catalog.pg_proc p ON e.kind = 'function' AND p.oid = e.object
LEFT JOIN pg_catalog.pg_type t ON e.kind = 'type' AND t.oid = e.object
LEFT JOIN pg_catalog.pg_namespace n ON n.oid = coalesce(c.relnamespace, p.pronamespace, t.typnamespace)
LEFT JOIN pg_catalog.pg_class uc ON e.used_kind IN ('relation', 'column', 'row') AND uc.oid = e.used
LEFT JOIN pg_catalog.pg_attribute ua ON e.used_kind = 'column' AND ua.attrelid = e.used AND ua.attnum = e.used_part
LEFT JOIN pg_catalog.pg_proc up ON e.used_kind = 'function' AND up.oid = e.used
LEFT JOIN pg_catalog.pg_type ut ON e.used_kind = 'type' AND ut.oid = e.used
JOIN pg_catalog.pg_namespace un ON un.oid = coalesce(uc.relnamespace, up.pronamespace, ut.typnamespace)
WHERE e.kind = 'server' OR n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') AND n.nspname !~ '^pg_(toast_)?temp_'
GROUP BY 1, 2, 3, 4, 5, 6, 7, 8
ORDER BY 1, 2, 3, 4, 5, 6, 7, 8

-- :children
-- Each child of a partitioned table or of a table that others inherit from.
SELECT pn.nspname::text AS schema, p.relname::text AS name, cn.nspname::text AS child_schema, c.relname::text AS child
FROM pg_catalog.pg_inherits i
JOIN pg_catalog.pg_class p ON p.oid = i.inhparent
JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace
JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid
JOIN pg_catalog.pg_namespace cn ON cn.oid = c.relnamespace
WHERE p.relkind IN ('r', 'p') AND cn.nspname !~ '^pg_(toast_)?temp_'
ORDER BY pn.nspname COLLATE "C", p.relname COLLATE "C", cn.nspname COLLATE "C", c.relname COLLATE "C"

-- :casts
-- Casts that run a function outside pg_catalog, and every cast that the server makes by itself.
SELECT sn.nspname::text COLLATE "C" AS source_schema, s.typname::text COLLATE "C" AS source,
    tn.nspname::text COLLATE "C" AS target_schema, t.typname::text COLLATE "C" AS target,
    coalesce(pn.nspname::text, '') COLLATE "C" AS function_schema, coalesce(p.proname::text, '') COLLATE "C" AS function,
    c.castcontext = 'i' AS implicit
FROM pg_catalog.pg_cast c
JOIN pg_catalog.pg_type s ON s.oid = c.castsource
JOIN pg_catalog.pg_namespace sn ON sn.oid = s.typnamespace
JOIN pg_catalog.pg_type t ON t.oid = c.casttarget
JOIN pg_catalog.pg_namespace tn ON tn.oid = t.typnamespace
LEFT JOIN pg_catalog.pg_proc p ON p.oid = c.castfunc AND p.pronamespace <> 'pg_catalog'::pg_catalog.regnamespace
LEFT JOIN pg_catalog.pg_namespace pn ON pn.oid = p.pronamespace
WHERE c.castcontext = 'i' OR p.oid IS NOT NULL
ORDER BY 1, 2, 3, 4
