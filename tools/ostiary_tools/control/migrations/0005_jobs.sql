-- Calls that go on after their answer: whose, how they stand, and what they came to.
--
-- What they came to is the text that the tool answered with. Of `export` it names a file; of a tool pack's it may hold rows.
--
-- `ostiary_jobs` owns the schema and nobody logs in as it. The service, `ostiary_writer`, may do with rows what jobs need.

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'ostiary_jobs') THEN
        -- Roles belong to the cluster: another database of it may be making the same one now.
        BEGIN
            CREATE ROLE ostiary_jobs NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;
        END;
    END IF;
    -- An administrator that is no superuser must be a member to make things as the owner; taken back at the end.
    IF NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
        EXECUTE format('GRANT ostiary_jobs TO %I', current_user);
    END IF;
END
$$;

CREATE SCHEMA jobs AUTHORIZATION ostiary_jobs;

SET LOCAL ROLE ostiary_jobs;

CREATE TABLE jobs.job (
    id uuid PRIMARY KEY,
    agent text NOT NULL,
    roles text[] NOT NULL,
    attributes text NOT NULL DEFAULT '', -- a digest of them
    tool text NOT NULL,
    state text NOT NULL DEFAULT 'working' CHECK (state IN ('working', 'completed', 'failed', 'cancelled')),
    message text NOT NULL DEFAULT '',
    reply text NOT NULL DEFAULT '',
    cancel_asked boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX job_updated_at ON jobs.job (updated_at);

GRANT USAGE ON SCHEMA jobs TO ostiary_writer;
GRANT SELECT, INSERT, UPDATE, DELETE ON jobs.job TO ostiary_writer;

RESET ROLE;

DO $$
BEGIN
    IF NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
        EXECUTE format('REVOKE ostiary_jobs FROM %I', current_user);
    END IF;
END
$$;
