-- Migrations of datasources: what people have run by `ostiary migrate`, and how it is taken back.
--
-- `ostiary_migrations` owns the schema and nobody logs in as it. The service has no business here; the administrator who applies
-- this may look, begin, settle and take back.

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'ostiary_migrations') THEN
        -- Roles belong to the cluster: another database of it may be making the same one now.
        BEGIN
            CREATE ROLE ostiary_migrations NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;
        END;
    END IF;
    -- An administrator that is no superuser must be a member to make things as the owner; taken back at the end.
    IF NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
        EXECUTE format('GRANT ostiary_migrations TO %I', current_user);
    END IF;
END
$$;

CREATE SCHEMA migrations AUTHORIZATION ostiary_migrations;

SET LOCAL ROLE ostiary_migrations;

CREATE TABLE migrations.applied (
    datasource text NOT NULL,
    number int4 NOT NULL,
    name text NOT NULL,
    checksum text NOT NULL, -- of the whole file
    reverse text[] NOT NULL, -- statements in their order
    no_reverse text[] NOT NULL, -- why there is no whole way back; empty when there is one
    state text NOT NULL CHECK (state IN ('begun', 'applied')),
    by_person text NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (datasource, number)
);

DO $$
BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA migrations TO %I', session_user);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE (state), DELETE ON migrations.applied TO %I', session_user);
END
$$;

RESET ROLE;

DO $$
BEGIN
    IF NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
        EXECUTE format('REVOKE ostiary_migrations FROM %I', current_user);
    END IF;
END
$$;
