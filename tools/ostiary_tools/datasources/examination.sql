-- What a login for agents is made of, besides its powers (PostgreSQL 14 to 18); `examination.py` splits at the names.

-- :who
-- Whom we are and where.
SELECT session_user::text AS login, pg_catalog.current_database()::text AS database, pg_catalog.pg_is_in_recovery() AS standby

-- :relations
-- Relations whose grants are their owner's business: those of extensions come with theirs.
SELECT n.nspname::text AS schema, c.relname::text AS name, r.rolname::text AS owner
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_roles r ON r.oid = c.relowner
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.oid >= 16384 AND n.nspname !~ '^pg_(toast_)?temp_'
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
        AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY 1, 2

-- :functions
-- Functions that are closed to PUBLIC and harmless to open: neither SECURITY DEFINER nor of an untrusted language.
SELECT n.nspname::text AS schema, p.proname::text AS name, pg_catalog.pg_get_function_identity_arguments(p.oid) AS arguments
FROM pg_catalog.pg_proc p
JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
JOIN pg_catalog.pg_language l ON l.oid = p.prolang
WHERE p.oid >= 16384 AND NOT p.prosecdef AND l.lanpltrusted AND p.prokind IN ('f', 'w')
    AND p.prorettype NOT IN ('pg_catalog.trigger'::pg_catalog.regtype, 'pg_catalog.event_trigger'::pg_catalog.regtype)
    AND p.proacl IS NOT NULL AND NOT EXISTS (SELECT FROM pg_catalog.aclexplode(p.proacl) AS a WHERE a.grantee = 0)
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass
        AND d.objid = p.oid AND d.deptype = 'e')
ORDER BY 1, 2, 3
