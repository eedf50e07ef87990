-- Changes of which nobody can tell any more what became of them: their database was replaced, by a backup or a standby.

DO $$
BEGIN
    -- An administrator that is no superuser must be a member to make things as the owner; taken back at the end.
    IF NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
        EXECUTE format('GRANT ostiary_changes TO %I', current_user);
    END IF;
END
$$;

SET LOCAL ROLE ostiary_changes;

ALTER TABLE changes.change DROP CONSTRAINT change_state_check;
ALTER TABLE changes.change ADD CONSTRAINT change_state_check
    CHECK (state IN ('proposed', 'applying', 'applied', 'reverting', 'reverted', 'failed', 'unknown'));

RESET ROLE;

DO $$
BEGIN
    IF NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
        EXECUTE format('REVOKE ostiary_changes FROM %I', current_user);
    END IF;
END
$$;
