-- What is known to have been kept in repositories of backups, apart from these: who writes to one may take something away.

DO $$
BEGIN
    -- An administrator that is no superuser must be a member to make things as the owner; taken back at the end.
    IF NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
        EXECUTE format('GRANT ostiary_jobs TO %I', current_user);
    END IF;
END
$$;

SET LOCAL ROLE ostiary_jobs;

CREATE TABLE jobs.kept_backup (
    repository text NOT NULL,
    id text NOT NULL,
    datasource text NOT NULL,
    kind text NOT NULL,
    noted_at timestamptz NOT NULL DEFAULT now(),
    drilled_at timestamptz, -- when the newest drill of it ended
    marked_at timestamptz, -- when it was said that it may go, as long as that holds
    gone_at timestamptz,
    gone text NOT NULL DEFAULT '' CHECK (gone IN ('', 'deleted', 'expired', 'given up')),
    person text NOT NULL DEFAULT '', -- who let go of it
    PRIMARY KEY (repository, id),
    CHECK ((gone = '') = (gone_at IS NULL))
);

CREATE TABLE jobs.kept_log (
    repository text NOT NULL,
    system_identifier text NOT NULL,
    timeline int8 NOT NULL,
    datasource text NOT NULL,
    start numeric(20) NOT NULL, -- an LSN as a number: from there on it was kept
    "end" numeric(20) NOT NULL, -- and up to there
    at timestamptz NOT NULL, -- when it had come so far
    history bool NOT NULL DEFAULT false, -- how the timeline came about was kept, too
    PRIMARY KEY (repository, system_identifier, timeline)
);

-- What a look at a repository found missing, for who asks without looking through it.
CREATE TABLE jobs.vanished (
    repository text NOT NULL,
    what text NOT NULL,
    "of" text NOT NULL CHECK ("of" IN ('backup', 'drill', 'log')),
    words text NOT NULL,
    hint text NOT NULL,
    since timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (repository, words)
);

-- What a plan has asked for no agent ends, though it bears the name of the one that plans ask as.
ALTER TABLE jobs.job ADD COLUMN planned bool NOT NULL DEFAULT false;

GRANT SELECT, INSERT, UPDATE ON jobs.kept_backup TO ostiary_writer;
GRANT SELECT, INSERT, UPDATE, DELETE ON jobs.kept_log, jobs.vanished TO ostiary_writer;

RESET ROLE;

DO $$
BEGIN
    IF NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
        EXECUTE format('REVOKE ostiary_jobs FROM %I', current_user);
    END IF;
END
$$;
