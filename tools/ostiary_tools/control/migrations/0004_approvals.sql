-- Approvals that were used. An approval is sealed state in a client's hands and could be sent twice, to two processes;
-- its number can be here once.
--
-- `ostiary_approvals` owns the schema and nobody logs in as it. The service, `ostiary_writer`, may add, find and forget
-- rows and change none.

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'ostiary_approvals') THEN
        -- Roles belong to the cluster: another database of it may be making the same one now.
        BEGIN
            CREATE ROLE ostiary_approvals NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;
        END;
    END IF;
    -- An administrator that is no superuser must be a member to make things as the owner; taken back at the end.
    IF NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
        EXECUTE format('GRANT ostiary_approvals TO %I', current_user);
    END IF;
END
$$;

CREATE SCHEMA approvals AUTHORIZATION ostiary_approvals;

SET LOCAL ROLE ostiary_approvals;

CREATE TABLE approvals.used (
    id uuid PRIMARY KEY,
    agent text NOT NULL,
    used_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX used_used_at ON approvals.used (used_at);

GRANT USAGE ON SCHEMA approvals TO ostiary_writer;
GRANT SELECT, INSERT, DELETE ON approvals.used TO ostiary_writer;

RESET ROLE;

DO $$
BEGIN
    IF NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
        EXECUTE format('REVOKE ostiary_approvals FROM %I', current_user);
    END IF;
END
$$;
