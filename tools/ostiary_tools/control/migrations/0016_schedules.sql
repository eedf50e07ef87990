-- What plans of backups ask for by the clock: up to when their times were seen to, and what came of the newest.
--
-- The clock is this database's, so that all workers have the same one.

DO $$
BEGIN
    -- An administrator that is no superuser must be a member to make things as the owner; taken back at the end.
    IF NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
        EXECUTE format('GRANT ostiary_jobs TO %I', current_user);
    END IF;
END
$$;

SET LOCAL ROLE ostiary_jobs;

CREATE TABLE jobs.schedule (
    key text NOT NULL, -- as of jobs: of one installation
    plan text NOT NULL,
    what text NOT NULL, -- a kind of backup, or `drill`
    cron text NOT NULL,
    due timestamptz NOT NULL, -- of its times the last that was seen to
    job uuid, -- that was asked for last
    state text NOT NULL DEFAULT '' CHECK (state IN ('', 'waits', 'completed', 'failed', 'cancelled')),
    said text NOT NULL DEFAULT '',
    since timestamptz NOT NULL DEFAULT now(), -- it stands so
    newest timestamptz, -- when the newest backup of that kind, or drill, was begun
    PRIMARY KEY (key, plan, what)
);

GRANT SELECT, INSERT, UPDATE, DELETE ON jobs.schedule TO ostiary_writer;

RESET ROLE;

DO $$
BEGIN
    IF NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
        EXECUTE format('REVOKE ostiary_jobs FROM %I', current_user);
    END IF;
END
$$;
