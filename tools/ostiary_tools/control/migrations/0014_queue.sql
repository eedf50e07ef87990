-- Jobs that outlive the server that was asked for them: they wait here, and workers take them.
--
-- `body` holds what such a job calls and for whom, encrypted with a key of the installation that is not here; it goes when the
-- job has ended. A worker keeps a job by its lease, and one whose lease has run out is taken by the next.

DO $$
BEGIN
    -- An administrator that is no superuser must be a member to make things as the owner; taken back at the end.
    IF NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
        EXECUTE format('GRANT ostiary_jobs TO %I', current_user);
    END IF;
END
$$;

SET LOCAL ROLE ostiary_jobs;

ALTER TABLE jobs.job DROP CONSTRAINT job_state_check;
ALTER TABLE jobs.job
    ADD CONSTRAINT job_state_check CHECK (state IN ('queued', 'working', 'completed', 'failed', 'cancelled')),
    ADD COLUMN about text NOT NULL DEFAULT '', -- what is worked on; one job at a time does
    ADD COLUMN key text NOT NULL DEFAULT '', -- names the key of the body
    ADD COLUMN body bytea,
    ADD COLUMN attempts int4 NOT NULL DEFAULT 0, -- that ended by what may pass
    ADD COLUMN takeovers int4 NOT NULL DEFAULT 0, -- from workers that were heard of no more
    ADD COLUMN worker uuid,
    ADD COLUMN leased_until timestamptz, -- or, without a worker, when it may be taken
    ADD CHECK (state <> 'queued' OR (body IS NOT NULL AND worker IS NULL));
-- One waits behind one that runs, and then sees all that was there when it was asked for.
CREATE UNIQUE INDEX job_about ON jobs.job (about, state) WHERE about <> '' AND state IN ('queued', 'working');
CREATE INDEX job_waiting ON jobs.job (key, created_at) WHERE body IS NOT NULL;

CREATE TABLE jobs.worker (
    id uuid PRIMARY KEY,
    key text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    seen_at timestamptz NOT NULL DEFAULT now()
);

GRANT SELECT, INSERT, UPDATE, DELETE ON jobs.worker TO ostiary_writer;

RESET ROLE;

DO $$
BEGIN
    IF NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
        EXECUTE format('REVOKE ostiary_jobs FROM %I', current_user);
    END IF;
END
$$;
