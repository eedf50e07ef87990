-- Changes that were proposed, and what became of them.
--
-- A change is found by a digest of its handle, which its owner alone has. `body` holds its statements, values and images of
-- rows, encrypted with a key that is made of the handle and of a secret of the installation, neither of which is here.
--
-- `ostiary_changes` owns the schema and nobody logs in as it. The service, `ostiary_writer`, may do with rows what changes need.

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'ostiary_changes') THEN
        -- Roles belong to the cluster: another database of it may be making the same one now.
        BEGIN
            CREATE ROLE ostiary_changes NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;
        END;
    END IF;
    -- An administrator that is no superuser must be a member to make things as the owner; taken back at the end.
    IF NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
        EXECUTE format('GRANT ostiary_changes TO %I', current_user);
    END IF;
END
$$;

CREATE SCHEMA changes AUTHORIZATION ostiary_changes;

SET LOCAL ROLE ostiary_changes;

CREATE TABLE changes.change (
    id bytea PRIMARY KEY CHECK (length(id) = 32),
    number uuid NOT NULL UNIQUE, -- of the call that proposed it
    agent text NOT NULL,
    roles text[] NOT NULL,
    datasource text NOT NULL,
    policy_hash text NOT NULL,
    schema_version text NOT NULL,
    state text NOT NULL DEFAULT 'proposed'
        CHECK (state IN ('proposed', 'applying', 'applied', 'reverting', 'reverted', 'failed')),
    transaction text NOT NULL DEFAULT '', -- the last one that was to commit something of it
    rows_changed int8 NOT NULL,
    expires_at timestamptz NOT NULL,
    moved_at timestamptz NOT NULL DEFAULT now(),
    body bytea NOT NULL,
    -- What is about to be committed is known by its transaction, always.
    CHECK (state NOT IN ('applying', 'reverting') OR transaction <> '')
);
CREATE INDEX change_expires_at ON changes.change (expires_at);
CREATE INDEX change_unsettled ON changes.change (moved_at) WHERE state IN ('applying', 'reverting');

GRANT USAGE ON SCHEMA changes TO ostiary_writer;
GRANT SELECT, INSERT, DELETE ON changes.change TO ostiary_writer;
GRANT UPDATE (state, transaction, rows_changed, expires_at, moved_at, body) ON changes.change TO ostiary_writer;

RESET ROLE;

DO $$
BEGIN
    IF NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
        EXECUTE format('REVOKE ostiary_changes FROM %I', current_user);
    END IF;
END
$$;
