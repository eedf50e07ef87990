-- Taints: what an agent's calls have left on it, until a human takes it away.
--
-- `ostiary_taints` owns the schema and nobody logs in as it. The service, `ostiary_writer`, may look and leave taints; it
-- takes none away. The administrator who applies this may.

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'ostiary_taints') THEN
        -- Roles belong to the cluster: another database of it may be making the same one now.
        BEGIN
            CREATE ROLE ostiary_taints NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;
        END;
    END IF;
    -- An administrator that is no superuser must be a member to make things as the owner; taken back at the end.
    IF NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
        EXECUTE format('GRANT ostiary_taints TO %I', current_user);
    END IF;
END
$$;

CREATE SCHEMA taints AUTHORIZATION ostiary_taints;

SET LOCAL ROLE ostiary_taints;

CREATE TABLE taints.held (
    agent text NOT NULL,
    taint text NOT NULL,
    since timestamptz NOT NULL DEFAULT clock_timestamp(),
    by_call uuid NOT NULL, -- the first that left it
    again_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (agent, taint)
);

-- Leaves these taints on an agent. Asked a second time nothing changes but when it was last.
CREATE FUNCTION taints.leave(on_agent text, names text[], for_call uuid) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO taints.held (agent, taint, by_call) SELECT on_agent, name, for_call FROM unnest(names) AS n (name) ORDER BY name
    ON CONFLICT (agent, taint) DO UPDATE SET again_at = clock_timestamp() WHERE held.again_at < clock_timestamp() - interval '1 s'
$$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA taints FROM PUBLIC;
GRANT USAGE ON SCHEMA taints TO ostiary_writer;
GRANT SELECT ON taints.held TO ostiary_writer;
GRANT EXECUTE ON FUNCTION taints.leave (text, text[], uuid) TO ostiary_writer;

DO $$
BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA taints TO %I', session_user);
    EXECUTE format('GRANT SELECT, DELETE ON taints.held TO %I', session_user);
END
$$;

RESET ROLE;

DO $$
BEGIN
    IF NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
        EXECUTE format('REVOKE ostiary_taints FROM %I', current_user);
    END IF;
END
$$;
