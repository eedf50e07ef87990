-- Of a backup also when the log that leads on from it was looked at last: what that found is not to be taken away unseen.

DO $$
BEGIN
    -- An administrator that is no superuser must be a member to make things as the owner; taken back at the end.
    IF NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
        EXECUTE format('GRANT ostiary_jobs TO %I', current_user);
    END IF;
END
$$;

SET LOCAL ROLE ostiary_jobs;

ALTER TABLE jobs.kept_backup ADD COLUMN looked_at timestamptz;

RESET ROLE;

DO $$
BEGIN
    IF NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
        EXECUTE format('REVOKE ostiary_jobs FROM %I', current_user);
    END IF;
END
$$;
