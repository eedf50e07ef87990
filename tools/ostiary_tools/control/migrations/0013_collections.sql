-- Collections: what is searched by meaning, where it lies and how it was made. Nothing of what is in them.
--
-- `ostiary_collections` owns the schema and nobody logs in as it. The service, `ostiary_writer`, may do with rows what
-- collections need. A name is free again as soon as its collection is being dropped; its row stays until its store is done.

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'ostiary_collections') THEN
        -- Roles belong to the cluster: another database of it may be making the same one now.
        BEGIN
            CREATE ROLE ostiary_collections NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;
        END;
    END IF;
    -- An administrator that is no superuser must be a member to make things as the owner; taken back at the end.
    IF NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
        EXECUTE format('GRANT ostiary_collections TO %I', current_user);
    END IF;
END
$$;

CREATE SCHEMA collections AUTHORIZATION ostiary_collections;

SET LOCAL ROLE ostiary_collections;

CREATE TABLE collections.collection (
    id uuid PRIMARY KEY,
    name text NOT NULL CHECK (name ~ '^[a-z][a-z0-9_]{0,62}$'),
    state text NOT NULL DEFAULT 'kept' CHECK (state IN ('kept', 'dropping')),
    body jsonb NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE UNIQUE INDEX collection_name ON collections.collection (name) WHERE state = 'kept';

-- Whoever keeps these in mind looks again. Whoever is away meanwhile looks when it is back.
CREATE FUNCTION collections.cue() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM pg_notify('ostiary_collections', '');
    RETURN NULL;
END
$$;
CREATE TRIGGER cue AFTER INSERT OR UPDATE OR DELETE ON collections.collection
    FOR EACH STATEMENT EXECUTE FUNCTION collections.cue();

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA collections FROM PUBLIC;
GRANT USAGE ON SCHEMA collections TO ostiary_writer;
GRANT SELECT, INSERT, UPDATE, DELETE ON collections.collection TO ostiary_writer;

RESET ROLE;

DO $$
BEGIN
    IF NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
        EXECUTE format('REVOKE ostiary_collections FROM %I', current_user);
    END IF;
END
$$;
