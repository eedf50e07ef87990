-- Tokens that agents show: of each a digest, whom it stands for, and until when.
--
-- `ostiary_tokens` owns the schema and nobody logs in as it. The administrator who applies this makes and revokes tokens.
-- The service, `ostiary_writer`, may look one up and write down on which day it was used last: who takes the service over
-- gives out no token, and brings back none that was revoked.

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'ostiary_tokens') THEN
        -- Roles belong to the cluster: another database of it may be making the same one now.
        BEGIN
            CREATE ROLE ostiary_tokens NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;
        END;
    END IF;
    -- An administrator that is no superuser must be a member to make things as the owner; taken back at the end.
    IF NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
        EXECUTE format('GRANT ostiary_tokens TO %I', current_user);
    END IF;
END
$$;

CREATE SCHEMA tokens AUTHORIZATION ostiary_tokens;

SET LOCAL ROLE ostiary_tokens;

CREATE TABLE tokens.token (
    id text PRIMARY KEY CHECK (id ~ '^[a-z2-7]{8}$'),
    digest bytea NOT NULL UNIQUE CHECK (length(digest) = 32),
    agent text NOT NULL,
    roles text[] NOT NULL CHECK (cardinality(roles) > 0),
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    revoked_at timestamptz,
    used_on date
);

GRANT USAGE ON SCHEMA tokens TO ostiary_writer;
GRANT SELECT, UPDATE (used_on) ON tokens.token TO ostiary_writer;

DO $$
BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA tokens TO %I', session_user);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE (revoked_at) ON tokens.token TO %I', session_user);
END
$$;

RESET ROLE;

DO $$
BEGIN
    IF NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
        EXECUTE format('REVOKE ostiary_tokens FROM %I', current_user);
    END IF;
END
$$;
