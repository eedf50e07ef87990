-- Cursors of truncated replies: a statement to go on with, never rows of data.
--
-- `ostiary_cursors` owns the schema and nobody logs in as it. The service, `ostiary_writer`, may add, find and remove
-- rows and change none; nobody else may do anything, the reader of the audit log included. `body` is encrypted with a
-- key that is made of the handle, and of the handle only a digest is here.

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'ostiary_cursors') THEN
        -- Roles belong to the cluster: another database of it may be making the same one now.
        BEGIN
            CREATE ROLE ostiary_cursors NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;
        END;
    END IF;
    -- An administrator that is no superuser must be a member to make things as the owner; taken back at the end.
    IF NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
        EXECUTE format('GRANT ostiary_cursors TO %I', current_user);
    END IF;
END
$$;

CREATE SCHEMA cursors AUTHORIZATION ostiary_cursors;

SET LOCAL ROLE ostiary_cursors;

CREATE TABLE cursors.cursor (
    id bytea PRIMARY KEY CHECK (length(id) = 32),
    agent text NOT NULL,
    roles text[] NOT NULL,
    datasource text NOT NULL,
    policy_hash text NOT NULL,
    schema_version text NOT NULL,
    expires_at timestamptz NOT NULL,
    body bytea NOT NULL
);
CREATE INDEX cursor_expires_at ON cursors.cursor (expires_at);

GRANT USAGE ON SCHEMA cursors TO ostiary_writer;
GRANT SELECT, INSERT, DELETE ON cursors.cursor TO ostiary_writer;

RESET ROLE;

DO $$
BEGIN
    IF NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
        EXECUTE format('REVOKE ostiary_cursors FROM %I', current_user);
    END IF;
END
$$;
