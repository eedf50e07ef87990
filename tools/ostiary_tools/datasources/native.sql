-- What one login has natively (PostgreSQL 14 to 18). $1 is its name in `login` and, where nothing else is said, its OID: 0 where
-- there is no such role, which stands for PUBLIC. All of it is in catalogs that every role may read. `native.py` splits at the names.

-- :login
-- The login, if it exists; who asks, and where.
SELECT r.oid::pg_catalog.int8 AS oid, session_user::text AS asking, b.datname::text AS database,
    pg_catalog.has_database_privilege(coalesce(r.oid, 0::pg_catalog.oid), b.oid, 'CONNECT') AS connects
FROM pg_catalog.pg_database b
LEFT JOIN pg_catalog.pg_roles r ON r.rolname = $1::pg_catalog.name
WHERE b.datname = pg_catalog.current_database()

-- :memberships
-- Roles it was made a member of, whether it takes on what they have or not, and by whom.
SELECT g.rolname::text AS name, coalesce(r.rolname::text, '') AS grantor
FROM pg_catalog.pg_auth_members m
JOIN pg_catalog.pg_roles g ON g.oid = m.roleid
LEFT JOIN pg_catalog.pg_roles r ON r.oid = m.grantor
WHERE m.member = $1::pg_catalog.oid ORDER BY 1, 2

-- :everything
-- Roles of the server's own that have rights on every table without a grant; row security holds for their members.
SELECT r.rolname::text AS name FROM pg_catalog.pg_roles r
WHERE r.rolname IN ('pg_read_all_data', 'pg_write_all_data')
    AND EXISTS (SELECT FROM pg_catalog.pg_auth_members m WHERE m.roleid = r.oid AND m.member <> $1::pg_catalog.oid)
ORDER BY 1

-- :schemas
-- Which it may use, and which have a right granted to it.
SELECT n.nspname::text AS name, pg_catalog.has_schema_privilege($1::pg_catalog.oid, n.oid, 'USAGE') AS usable,
    EXISTS (SELECT FROM pg_catalog.aclexplode(n.nspacl) AS a WHERE a.grantee = $1::pg_catalog.oid AND a.grantee NOT IN (0, n.nspowner)) AS own
FROM pg_catalog.pg_namespace n
WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') AND n.nspname !~ '^pg_(toast_)?temp_'

-- :defaults
-- Who gives it, or everybody, the tables that he makes.
SELECT DISTINCT r.rolname::text AS owner, coalesce(n.nspname::text, '') AS schema, a.grantee = 0 AS everybody
FROM pg_catalog.pg_default_acl d
JOIN pg_catalog.pg_roles r ON r.oid = d.defaclrole
LEFT JOIN pg_catalog.pg_namespace n ON n.oid = d.defaclnamespace
CROSS JOIN LATERAL pg_catalog.aclexplode(d.defaclacl) AS a
WHERE d.defaclobjtype = 'r' AND a.privilege_type = 'SELECT' AND a.grantee IN (0, $1::pg_catalog.oid)
ORDER BY 1, 2, 3

-- :relations
-- Everything with rows, sequences too.
SELECT n.nspname::text AS schema, c.relname::text AS name, c.relkind::text AS kind, c.relrowsecurity AS row_security,
    coalesce((SELECT o.option_value FROM pg_catalog.pg_options_to_table(c.reloptions) AS o WHERE o.option_name = 'security_invoker'),
        'false')::pg_catalog.bool AS invoker,
    coalesce((SELECT o.option_value FROM pg_catalog.pg_options_to_table(c.reloptions) AS o WHERE o.option_name = 'security_barrier'),
        'false')::pg_catalog.bool AS barrier,
    pg_catalog.has_table_privilege($1::pg_catalog.oid, c.oid, 'SELECT') AS whole
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
    AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') AND n.nspname !~ '^pg_(toast_)?temp_'

-- :columns
-- Each column of these, and whether it may be read, through whomever.
SELECT n.nspname::text AS schema, c.relname::text AS relation, t.attname::text AS name,
    pg_catalog.has_column_privilege($1::pg_catalog.oid, c.oid, t.attnum, 'SELECT') AS readable
FROM pg_catalog.pg_attribute t
JOIN pg_catalog.pg_class c ON c.oid = t.attrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND t.attnum > 0 AND NOT t.attisdropped
    AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') AND n.nspname !~ '^pg_(toast_)?temp_'
ORDER BY c.oid, t.attnum

-- :grants
-- Rights on them of others than their owner, whoever has them.
SELECT g.schema, g.relation, g.name, coalesce(r.rolname::text, '') AS grantee, g.privilege, coalesce(o.rolname::text, '') AS grantor
FROM (
    SELECT n.nspname::text AS schema, c.relname::text AS relation, '' AS name, a.grantee, a.privilege_type AS privilege,
        nullif(a.grantor, c.relowner) AS grantor
    FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    CROSS JOIN LATERAL pg_catalog.aclexplode(c.relacl) AS a
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND a.grantee <> c.relowner
    UNION ALL
    SELECT n.nspname::text, c.relname::text, t.attname::text, a.grantee, a.privilege_type, nullif(a.grantor, c.relowner)
    FROM pg_catalog.pg_attribute t
    JOIN pg_catalog.pg_class c ON c.oid = t.attrelid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    CROSS JOIN LATERAL pg_catalog.aclexplode(t.attacl) AS a
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND NOT t.attisdropped AND a.grantee <> c.relowner
) AS g
LEFT JOIN pg_catalog.pg_roles r ON r.oid = g.grantee
LEFT JOIN pg_catalog.pg_roles o ON o.oid = g.grantor
WHERE g.schema NOT IN ('pg_catalog', 'information_schema', 'pg_toast') AND g.schema !~ '^pg_(toast_)?temp_'

-- :policies
-- Policies of row security; $1 are the OIDs of the login and of every role it can be.
SELECT n.nspname::text AS schema, c.relname::text AS relation, p.polname::text AS name, p.polpermissive AS permissive, p.polcmd::text AS command,
    ARRAY(SELECT coalesce(r.rolname::text, '') FROM pg_catalog.unnest(p.polroles) AS o (oid) LEFT JOIN pg_catalog.pg_roles r ON r.oid = o.oid
        ORDER BY 1) AS roles,
    0::pg_catalog.oid = ANY (p.polroles) OR p.polroles && $1::pg_catalog.oid[] AS applies,
    coalesce(pg_catalog.pg_get_expr(p.polqual, p.polrelid), '') AS expression
FROM pg_catalog.pg_policy p
JOIN pg_catalog.pg_class c ON c.oid = p.polrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname NOT IN ('pg_catalog', 'information_schema')
