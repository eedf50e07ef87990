-- What a login may do besides reading (PostgreSQL 14 to 18). The first section finds the roles; $1 of all others is their OIDs.
-- They return power, evidence, through (who has it; PUBLIC for everybody) and fix; `powers.py` splits at the names and leaves
-- out a section that names a later server. Catalogs that only superusers read are not touched.
-- What a server ships with (OIDs below 16384, pg_init_privs) is not reported: it is the same everywhere.

-- :reach
-- The login $2, the connected one where that is NULL, the role $1 that it takes on, and every role they are members of, in whatever
-- way; who owns the database is a member of pg_database_owner without a row that says so.
WITH RECURSIVE reach (oid) AS (
    SELECT r.oid FROM pg_catalog.pg_roles r WHERE r.rolname IN (coalesce($2::pg_catalog.name, session_user), $1::pg_catalog.name)
    UNION
    SELECT m.roleid FROM reach JOIN pg_catalog.pg_auth_members m ON m.member = reach.oid
)
SELECT oid::pg_catalog.int8 FROM reach
UNION
SELECT r.oid::pg_catalog.int8 FROM pg_catalog.pg_roles r WHERE r.rolname = 'pg_database_owner'
    AND EXISTS (SELECT FROM pg_catalog.pg_database b JOIN reach ON reach.oid = b.datdba WHERE b.datname = pg_catalog.current_database())

-- :attributes
-- Attributes of the roles themselves; they are not inherited, and come by SET ROLE.
SELECT v.power, v.word AS evidence, r.rolname::text AS through, pg_catalog.format('ALTER ROLE %I NO%s', r.rolname, v.word) AS fix
FROM pg_catalog.pg_roles r
CROSS JOIN LATERAL (VALUES ('superuser', r.rolsuper, 'SUPERUSER'), ('bypass_rls', r.rolbypassrls, 'BYPASSRLS'),
    ('create_role', r.rolcreaterole, 'CREATEROLE'), ('create_database', r.rolcreatedb, 'CREATEDB'),
    ('replication', r.rolreplication, 'REPLICATION')) AS v (power, has, word)
WHERE r.oid = ANY ($1::pg_catalog.oid[]) AND v.has

-- :predefined
-- Membership in PostgreSQL's own roles; one that is not known here counts as maintenance.
SELECT CASE r.rolname WHEN 'pg_read_server_files' THEN 'server_files' WHEN 'pg_write_server_files' THEN 'server_files'
        WHEN 'pg_execute_server_program' THEN 'server_programs' WHEN 'pg_read_all_data' THEN 'read_all_data'
        WHEN 'pg_write_all_data' THEN 'write_all_data' WHEN 'pg_signal_backend' THEN 'signal_backends'
        WHEN 'pg_signal_autovacuum_worker' THEN 'signal_backends' WHEN 'pg_monitor' THEN 'monitor'
        WHEN 'pg_read_all_settings' THEN 'monitor' WHEN 'pg_read_all_stats' THEN 'monitor'
        WHEN 'pg_stat_scan_tables' THEN 'monitor' ELSE 'maintenance' END,
    'member of ' || r.rolname, m.rolname::text, pg_catalog.format('REVOKE %I FROM %I', r.rolname, m.rolname)
FROM pg_catalog.pg_auth_members g
JOIN pg_catalog.pg_roles r ON r.oid = g.roleid
JOIN pg_catalog.pg_roles m ON m.oid = g.member
WHERE g.member = ANY ($1::pg_catalog.oid[]) AND r.oid < 16384 AND r.rolname ~ '^pg_' AND NOT m.rolname ~ '^pg_'

-- :administered
-- Roles they may grant to others, and to themselves.
SELECT 'grant_options', 'role ' || r.rolname || ': ADMIN OPTION', m.rolname::text,
    pg_catalog.format('REVOKE ADMIN OPTION FOR %I FROM %I', r.rolname, m.rolname)
FROM pg_catalog.pg_auth_members g
JOIN pg_catalog.pg_roles r ON r.oid = g.roleid
JOIN pg_catalog.pg_roles m ON m.oid = g.member
WHERE g.member = ANY ($1::pg_catalog.oid[]) AND g.admin_option

-- :owned
-- Everything they own in this database and of the server; a user mapping is found below. The first superuser's things are not recorded, nor need they be.
SELECT 'owner', o.type || ' ' || o.identity, r.rolname::text, ''
FROM pg_catalog.pg_shdepend d
JOIN pg_catalog.pg_roles r ON r.oid = d.refobjid
CROSS JOIN LATERAL pg_catalog.pg_identify_object(d.classid, d.objid, d.objsubid) AS o
WHERE d.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND d.refobjid = ANY ($1::pg_catalog.oid[]) AND d.deptype = 'o'
    AND d.classid <> 'pg_catalog.pg_user_mapping'::pg_catalog.regclass
    AND d.dbid IN (0, (SELECT b.oid FROM pg_catalog.pg_database b WHERE b.datname = pg_catalog.current_database()))

-- :tables
-- Rights on relations other than to read them, and on closed catalogs also to read. Whoever owns one is found above.
SELECT CASE WHEN n.nspname = 'pg_catalog' THEN 'restricted_objects'
        WHEN a.privilege_type IN ('INSERT', 'UPDATE', 'DELETE', 'TRUNCATE') THEN 'write_tables' ELSE 'alter_tables' END,
    pg_catalog.format('table %I.%I: %s', n.nspname, c.relname, a.privilege_type), coalesce(r.rolname::text, 'PUBLIC'),
    pg_catalog.format('REVOKE %s ON TABLE %I.%I FROM %s', a.privilege_type, n.nspname, c.relname, coalesce(pg_catalog.quote_ident(r.rolname), 'PUBLIC'))
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL pg_catalog.aclexplode(c.relacl) AS a
LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.grantee
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND (a.privilege_type <> 'SELECT' OR n.nspname = 'pg_catalog') AND a.grantee <> c.relowner
    AND (a.grantee = 0 OR a.grantee = ANY ($1::pg_catalog.oid[]))
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_init_privs i CROSS JOIN LATERAL pg_catalog.aclexplode(i.initprivs) AS s
        WHERE c.oid < 16384 AND i.classoid = 'pg_catalog.pg_class'::pg_catalog.regclass AND i.objoid = c.oid AND i.objsubid = 0
            AND s.grantee = a.grantee AND s.privilege_type = a.privilege_type)

-- :columns
-- The same rights, granted on single columns.
SELECT CASE WHEN n.nspname = 'pg_catalog' THEN 'restricted_objects' WHEN a.privilege_type IN ('INSERT', 'UPDATE') THEN 'write_tables' ELSE 'alter_tables' END,
    pg_catalog.format('column %I.%I.%I: %s', n.nspname, c.relname, t.attname, a.privilege_type), coalesce(r.rolname::text, 'PUBLIC'),
    pg_catalog.format('REVOKE %s (%I) ON TABLE %I.%I FROM %s', a.privilege_type, t.attname, n.nspname, c.relname,
        coalesce(pg_catalog.quote_ident(r.rolname), 'PUBLIC'))
FROM pg_catalog.pg_attribute t
JOIN pg_catalog.pg_class c ON c.oid = t.attrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL pg_catalog.aclexplode(t.attacl) AS a
LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.grantee
WHERE t.attacl IS NOT NULL AND NOT t.attisdropped AND (a.privilege_type <> 'SELECT' OR n.nspname = 'pg_catalog') AND a.grantee <> c.relowner
    AND (a.grantee = 0 OR a.grantee = ANY ($1::pg_catalog.oid[]))
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_init_privs i CROSS JOIN LATERAL pg_catalog.aclexplode(i.initprivs) AS s
        WHERE c.oid < 16384 AND i.classoid = 'pg_catalog.pg_class'::pg_catalog.regclass AND i.objoid = c.oid AND i.objsubid = t.attnum
            AND s.grantee = a.grantee AND s.privilege_type = a.privilege_type)

-- :sequences
-- USAGE is enough for nextval.
SELECT 'write_sequences', pg_catalog.format('sequence %I.%I: %s', n.nspname, c.relname, a.privilege_type),
    coalesce(r.rolname::text, 'PUBLIC'),
    pg_catalog.format('REVOKE %s ON SEQUENCE %I.%I FROM %s', a.privilege_type, n.nspname, c.relname, coalesce(pg_catalog.quote_ident(r.rolname), 'PUBLIC'))
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL pg_catalog.aclexplode(c.relacl) AS a
LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.grantee
WHERE c.relkind = 'S' AND a.privilege_type <> 'SELECT' AND a.grantee <> c.relowner
    AND (a.grantee = 0 OR a.grantee = ANY ($1::pg_catalog.oid[]))

-- :places
-- CREATE on schemas, the database and tablespaces; TEMPORARY on the database.
SELECT CASE a.privilege_type WHEN 'CREATE' THEN 'create_objects' ELSE 'temporary_tables' END,
    pg_catalog.format('%s %I: %s', pg_catalog.lower(p.kind), p.name, a.privilege_type), coalesce(r.rolname::text, 'PUBLIC'),
    pg_catalog.format('REVOKE %s ON %s %I FROM %s', a.privilege_type, p.kind, p.name, coalesce(pg_catalog.quote_ident(r.rolname), 'PUBLIC'))
FROM (
    SELECT 'SCHEMA' AS kind, n.nspname AS name, n.nspowner AS owner, n.nspacl AS acl FROM pg_catalog.pg_namespace n
    WHERE n.nspname !~ '^pg_(toast_)?temp_'
    UNION ALL
    SELECT 'DATABASE', b.datname, b.datdba, coalesce(b.datacl, pg_catalog.acldefault('d', b.datdba)) FROM pg_catalog.pg_database b
    WHERE b.datname = pg_catalog.current_database()
    UNION ALL
    SELECT 'TABLESPACE', t.spcname, t.spcowner, t.spcacl FROM pg_catalog.pg_tablespace t
) AS p
CROSS JOIN LATERAL pg_catalog.aclexplode(p.acl) AS a
LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.grantee
WHERE a.privilege_type IN ('CREATE', 'TEMPORARY') AND a.grantee <> p.owner
    AND (a.grantee = 0 OR a.grantee = ANY ($1::pg_catalog.oid[]))

-- :functions
-- Functions they may call that do more than compute: those of SECURITY DEFINER and of untrusted languages, where schema and
-- function are open to them and no extension answers for it; and those that were installed closed and have been opened.
SELECT f.power, pg_catalog.format('function %I.%I(%s)', f.nspname, f.proname, pg_catalog.pg_get_function_identity_arguments(f.oid)),
    coalesce(r.rolname::text, 'PUBLIC'),
    pg_catalog.format('REVOKE EXECUTE ON ROUTINE %I.%I(%s) FROM %s', f.nspname, f.proname, pg_catalog.pg_get_function_identity_arguments(f.oid),
        coalesce(pg_catalog.quote_ident(r.rolname), 'PUBLIC'))
FROM (
    SELECT CASE WHEN i.objoid IS NOT NULL THEN 'restricted_objects' WHEN p.prosecdef THEN 'security_definer' ELSE 'untrusted_functions' END AS power,
        p.oid, p.proname, p.proowner, p.proacl, n.nspname, n.nspacl, n.nspowner, i.initprivs
    FROM pg_catalog.pg_proc p
    JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
    JOIN pg_catalog.pg_language l ON l.oid = p.prolang
    LEFT JOIN pg_catalog.pg_init_privs i ON i.classoid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND i.objoid = p.oid
    WHERE i.objoid IS NOT NULL
        OR p.oid >= 16384 AND (p.prosecdef OR NOT l.lanpltrusted)
            AND p.prorettype NOT IN ('pg_catalog.trigger'::pg_catalog.regtype, 'pg_catalog.event_trigger'::pg_catalog.regtype)
            AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass
                AND d.objid = p.oid AND d.deptype = 'e')
) AS f
CROSS JOIN LATERAL pg_catalog.aclexplode(coalesce(f.proacl, pg_catalog.acldefault('f', f.proowner))) AS a
LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.grantee
WHERE a.grantee <> f.proowner AND (a.grantee = 0 OR a.grantee = ANY ($1::pg_catalog.oid[]))
    AND NOT EXISTS (SELECT FROM pg_catalog.aclexplode(f.initprivs) AS s WHERE s.grantee = a.grantee)
    AND EXISTS (SELECT FROM pg_catalog.aclexplode(coalesce(f.nspacl, pg_catalog.acldefault('n', f.nspowner))) AS u
        WHERE u.privilege_type = 'USAGE' AND (u.grantee = 0 OR u.grantee = ANY ($1::pg_catalog.oid[])))

-- :outward
-- Extensions whose functions connect elsewhere or open sessions of their own, and are for everybody as they are installed.
SELECT 'other_servers', 'extension ' || e.extname, coalesce(r.rolname::text, 'PUBLIC'),
    pg_catalog.format('REVOKE EXECUTE ON ROUTINE %s FROM %s',
        pg_catalog.string_agg(pg_catalog.format('%I.%I(%s)', n.nspname, p.proname, pg_catalog.pg_get_function_identity_arguments(p.oid)),
            ', ' ORDER BY p.oid), coalesce(pg_catalog.quote_ident(r.rolname), 'PUBLIC'))
FROM pg_catalog.pg_extension e
JOIN pg_catalog.pg_depend d ON d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass AND d.refobjid = e.oid AND d.deptype = 'e'
    AND d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass
JOIN pg_catalog.pg_proc p ON p.oid = d.objid
JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
CROSS JOIN LATERAL pg_catalog.aclexplode(coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner))) AS a
LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.grantee
WHERE e.extname IN ('dblink', 'http', 'pg_net', 'plproxy', 'pg_background', 'pg_cron', 'aws_s3', 'aws_lambda', 'azure_storage')
    AND a.grantee <> p.proowner AND (a.grantee = 0 OR a.grantee = ANY ($1::pg_catalog.oid[]))
GROUP BY e.extname, r.rolname

-- :servers
-- With USAGE a role may make user mappings and, where it may make tables, foreign tables.
SELECT 'other_servers', pg_catalog.format('%s %I: USAGE', pg_catalog.lower(s.kind), s.name), coalesce(r.rolname::text, 'PUBLIC'),
    pg_catalog.format('REVOKE USAGE ON %s %I FROM %s', s.kind, s.name, coalesce(pg_catalog.quote_ident(r.rolname), 'PUBLIC'))
FROM (
    SELECT 'FOREIGN SERVER' AS kind, v.srvname AS name, v.srvowner AS owner, v.srvacl AS acl FROM pg_catalog.pg_foreign_server v
    UNION ALL
    SELECT 'FOREIGN DATA WRAPPER', w.fdwname, w.fdwowner, w.fdwacl FROM pg_catalog.pg_foreign_data_wrapper w
) AS s
CROSS JOIN LATERAL pg_catalog.aclexplode(s.acl) AS a
LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.grantee
WHERE a.grantee <> s.owner AND (a.grantee = 0 OR a.grantee = ANY ($1::pg_catalog.oid[]))

-- :mappings
-- A mapping of their own, or one for everybody, is a login elsewhere.
SELECT 'other_servers', pg_catalog.format('user mapping on foreign server %I', m.srvname), coalesce(r.rolname::text, 'PUBLIC'),
    pg_catalog.format('DROP USER MAPPING FOR %s SERVER %I', coalesce(pg_catalog.quote_ident(r.rolname), 'PUBLIC'), m.srvname)
FROM pg_catalog.pg_user_mappings m
JOIN pg_catalog.pg_foreign_server s ON s.oid = m.srvid
LEFT JOIN pg_catalog.pg_roles r ON r.oid = m.umuser
WHERE m.umuser = ANY ($1::pg_catalog.oid[])
    OR m.umuser = 0 AND EXISTS (SELECT FROM pg_catalog.aclexplode(s.srvacl) AS a
        WHERE a.privilege_type = 'USAGE' AND (a.grantee = 0 OR a.grantee = ANY ($1::pg_catalog.oid[])))

-- :foreign_tables
-- Their owner decided that they may be read.
SELECT 'foreign_tables', pg_catalog.format('foreign table %I.%I: SELECT', n.nspname, c.relname), coalesce(r.rolname::text, 'PUBLIC'),
    pg_catalog.format('REVOKE SELECT ON TABLE %I.%I FROM %s', n.nspname, c.relname, coalesce(pg_catalog.quote_ident(r.rolname), 'PUBLIC'))
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL pg_catalog.aclexplode(c.relacl) AS a
LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.grantee
WHERE c.relkind = 'f' AND a.privilege_type = 'SELECT' AND a.grantee <> c.relowner
    AND (a.grantee = 0 OR a.grantee = ANY ($1::pg_catalog.oid[]))

-- :grantable
-- Rights they hold WITH GRANT OPTION.
SELECT 'grant_options', pg_catalog.format('%s %s: %s WITH GRANT OPTION', pg_catalog.lower(t.kind), t.name, a.privilege_type), r.rolname::text,
    pg_catalog.format('REVOKE GRANT OPTION FOR %s ON %s %s FROM %I', a.privilege_type, t.kind, t.name, r.rolname)
FROM (
    SELECT CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END AS kind, pg_catalog.format('%I.%I', n.nspname, c.relname) AS name,
        c.relowner AS owner, c.relacl AS acl
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relacl IS NOT NULL
    UNION ALL
    SELECT 'SCHEMA', pg_catalog.quote_ident(n.nspname), n.nspowner, n.nspacl FROM pg_catalog.pg_namespace n
    UNION ALL
    SELECT 'DATABASE', pg_catalog.quote_ident(b.datname), b.datdba, b.datacl FROM pg_catalog.pg_database b
    WHERE b.datname = pg_catalog.current_database()
    UNION ALL
    SELECT 'ROUTINE', pg_catalog.format('%I.%I(%s)', n.nspname, p.proname, pg_catalog.pg_get_function_identity_arguments(p.oid)), p.proowner, p.proacl
    FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace WHERE p.proacl IS NOT NULL
) AS t
CROSS JOIN LATERAL pg_catalog.aclexplode(t.acl) AS a
JOIN pg_catalog.pg_roles r ON r.oid = a.grantee
WHERE a.is_grantable AND a.grantee <> t.owner AND a.grantee = ANY ($1::pg_catalog.oid[])

-- :large_objects
-- Large objects that others made and let them write.
SELECT 'write_large_objects', 'large object ' || l.oid, coalesce(r.rolname::text, 'PUBLIC'),
    pg_catalog.format('REVOKE UPDATE ON LARGE OBJECT %s FROM %s', l.oid, coalesce(pg_catalog.quote_ident(r.rolname), 'PUBLIC'))
FROM pg_catalog.pg_largeobject_metadata l
CROSS JOIN LATERAL pg_catalog.aclexplode(l.lomacl) AS a
LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.grantee
WHERE l.lomacl IS NOT NULL AND a.privilege_type = 'UPDATE' AND a.grantee <> l.lomowner
    AND (a.grantee = 0 OR a.grantee = ANY ($1::pg_catalog.oid[]))

-- :new_large_objects
-- As PostgreSQL is installed everybody may make large objects; before version 16 in a read-only transaction too.
SELECT 'create_large_objects', pg_catalog.format('function pg_catalog.%I', p.proname), coalesce(r.rolname::text, 'PUBLIC'),
    pg_catalog.format('REVOKE EXECUTE ON FUNCTION pg_catalog.%I(%s) FROM %s', p.proname, pg_catalog.pg_get_function_identity_arguments(p.oid),
        coalesce(pg_catalog.quote_ident(r.rolname), 'PUBLIC'))
FROM pg_catalog.pg_proc p
CROSS JOIN LATERAL pg_catalog.aclexplode(coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner))) AS a
LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.grantee
WHERE p.pronamespace = 'pg_catalog'::pg_catalog.regnamespace AND p.proname IN ('lo_creat', 'lo_create', 'lo_from_bytea')
    AND a.grantee <> p.proowner AND (a.grantee = 0 OR a.grantee = ANY ($1::pg_catalog.oid[]))

-- :parameters 15
-- Settings of superusers that were opened.
SELECT 'server_settings', pg_catalog.format('parameter %s: %s', s.parname, a.privilege_type), coalesce(r.rolname::text, 'PUBLIC'),
    pg_catalog.format('REVOKE %s ON PARAMETER %I FROM %s', a.privilege_type, s.parname, coalesce(pg_catalog.quote_ident(r.rolname), 'PUBLIC'))
FROM pg_catalog.pg_parameter_acl s
CROSS JOIN LATERAL pg_catalog.aclexplode(s.paracl) AS a
LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.grantee
WHERE a.grantee = 0 OR a.grantee = ANY ($1::pg_catalog.oid[])
