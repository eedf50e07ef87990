-- Rows of collections are sealed: who may write to this table makes no server believe what a collection is, or whose.
--
-- `seal` is over all of a row with a key of the installation that is not here, and `key` names that. A row from before has
-- none. What it says cannot be told from what somebody else wrote, so nothing seals it now: it is refused, and created anew.

DO $$
BEGIN
    -- An administrator that is no superuser must be a member to make things as the owner; taken back at the end.
    IF NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
        EXECUTE format('GRANT ostiary_collections TO %I', current_user);
    END IF;
END
$$;

SET LOCAL ROLE ostiary_collections;

ALTER TABLE collections.collection
    ADD COLUMN key text NOT NULL DEFAULT '', -- names the key of the seal
    ADD COLUMN seal bytea;

RESET ROLE;

DO $$
BEGIN
    IF NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
        EXECUTE format('REVOKE ostiary_collections FROM %I', current_user);
    END IF;
END
$$;
