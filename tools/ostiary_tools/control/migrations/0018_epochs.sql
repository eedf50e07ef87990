-- Epochs of the audit log: this database was put back to an earlier moment, and a person had the log go on from there.
--
-- A row is a note that the installation signed: where each stream ended, and what is known to have stood behind. It stands in the
-- log too, in the first record of its epoch. Streams from 1024 · n on belong to epoch n, and those of earlier epochs get no more
-- records, so no place in the log is ever given twice. What came back to life with the database ends in the same transaction.

DO $$
DECLARE
    owner text;
BEGIN
    -- An administrator that is no superuser must be a member to make things as the owners; taken back at the end.
    IF NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
        FOREACH owner IN ARRAY ARRAY['ostiary_owner', 'ostiary_approvals', 'ostiary_changes', 'ostiary_jobs', 'ostiary_cursors'] LOOP
            EXECUTE format('GRANT %I TO %I', owner, current_user);
        END LOOP;
    END IF;
END
$$;

SET LOCAL ROLE ostiary_owner;

CREATE TABLE audit.epoch (
    number int4 PRIMARY KEY CHECK (number > 0),
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    note text NOT NULL
);

-- Signed notes that say more than the log held when they were put here: whoever records in it learns that it was put back.
CREATE TABLE audit.evidence (
    digest bytea PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    note text NOT NULL
);

SELECT audit.protect(t) FROM unnest(ARRAY['audit.epoch', 'audit.evidence']::regclass []) AS t;
CREATE TRIGGER only_inside BEFORE INSERT ON audit.epoch EXECUTE FUNCTION audit.refuse_outside();
ALTER TABLE audit.epoch ENABLE ALWAYS TRIGGER only_inside;
CREATE TRIGGER only_inside BEFORE INSERT ON audit.evidence EXECUTE FUNCTION audit.refuse_outside();
ALTER TABLE audit.evidence ENABLE ALWAYS TRIGGER only_inside;

-- Whoever takes a stream asks this after taking it, and waits here while an epoch is opened: nobody goes on in one that is over.
CREATE FUNCTION audit.epochs() RETURNS TABLE (number int4, note text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '10s' AS $$
BEGIN
    LOCK TABLE audit.epoch IN ROW SHARE MODE;
    RETURN QUERY SELECT e.number, e.note FROM audit.epoch AS e ORDER BY e.number;
END
$$;

CREATE FUNCTION audit.tell(notes text[]) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO audit.evidence (digest, note) SELECT sha256(convert_to(n, 'UTF8')), n FROM unnest(notes) AS n
    ON CONFLICT DO NOTHING
$$;

-- Opens an epoch with its first record. `ends` is a JSON array of {stream, seq, hash}, the hash in hex: all streams as whoever
-- opens it has verified them. A process that records, or a record since, is a refusal.
CREATE FUNCTION audit.open_epoch(
    new_number int4, new_note text, ends jsonb, new_ts timestamptz, new_call uuid, new_body text, new_hash bytea
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '10s' AS $$
DECLARE
    wrong int8;
BEGIN
    LOCK TABLE audit.epoch IN EXCLUSIVE MODE;
    IF EXISTS (
        SELECT FROM pg_locks WHERE locktype = 'advisory' AND classid = 4712 AND objsubid = 2
            AND database = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database())
    ) THEN
        RAISE EXCEPTION 'a process still records in it' USING ERRCODE = 'object_in_use';
    END IF;
    LOCK TABLE audit.log IN SHARE MODE;
    SELECT count(*) INTO wrong
    FROM (SELECT s.stream, h.seq, h.hash FROM audit.streams() AS s LEFT JOIN LATERAL audit.head(s.stream) AS h ON true) AS here
    FULL JOIN jsonb_to_recordset(ends) AS e (stream int4, seq int8, hash text) ON e.stream = here.stream
    WHERE coalesce(e.seq, -1) <> coalesce(here.seq, 0) OR decode(e.hash, 'hex') IS DISTINCT FROM here.hash;
    IF wrong > 0 OR new_number <= (SELECT coalesce(max(number), 0) FROM audit.epoch)
        OR new_number * 1024::int8 <= (SELECT coalesce(max(stream), 0) FROM audit.streams())
    THEN
        RAISE EXCEPTION 'it has changed since it was verified' USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    INSERT INTO audit.log (stream, seq, ts, kind, call_id, body, hash)
    VALUES (new_number * 1024, 1, new_ts, 'e', new_call, new_body, new_hash);
    INSERT INTO audit.epoch (number, note) VALUES (new_number, new_note);
END
$$;

REVOKE ALL ON FUNCTION audit.epochs (), audit.tell (text[]) FROM PUBLIC;
REVOKE ALL ON FUNCTION audit.open_epoch (int4, text, jsonb, timestamptz, uuid, text, bytea) FROM PUBLIC;
GRANT SELECT ON audit.epoch, audit.evidence TO ostiary_reader;
GRANT SELECT ON audit.evidence TO ostiary_writer;
GRANT EXECUTE ON FUNCTION audit.epochs (), audit.tell (text[]) TO ostiary_writer;

DO $$
BEGIN
    EXECUTE format('GRANT EXECUTE ON FUNCTION audit.epochs () TO %I', session_user);
    EXECUTE format('GRANT EXECUTE ON FUNCTION audit.tell (text[]) TO %I', session_user);
    EXECUTE format(
        'GRANT EXECUTE ON FUNCTION audit.open_epoch (int4, text, jsonb, timestamptz, uuid, text, bytea) TO %I', session_user
    );
END
$$;

-- Calls that wait for people: what was granted may have been used after the moment, and would be good a second time.
SET LOCAL ROLE ostiary_approvals;

CREATE FUNCTION approvals.put_back() RETURNS int8
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH gone AS (DELETE FROM approvals.asked RETURNING 1) SELECT count(*) FROM gone
$$;
REVOKE ALL ON FUNCTION approvals.put_back () FROM PUBLIC;

-- Changes: a proposal may have been applied since, and what was applied may have been taken back. Nobody can tell.
SET LOCAL ROLE ostiary_changes;

CREATE FUNCTION changes.put_back() RETURNS int8
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH ended AS (
        UPDATE changes.change SET state = 'unknown', moved_at = now()
        WHERE state IN ('proposed', 'applying', 'applied', 'reverting') RETURNING 1
    )
    SELECT count(*) FROM ended
$$;
REVOKE ALL ON FUNCTION changes.put_back () FROM PUBLIC;

-- Jobs: one that waits or runs may have been done since, and would be done again.
SET LOCAL ROLE ostiary_jobs;

CREATE FUNCTION jobs.put_back() RETURNS int8
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH ended AS (
        UPDATE jobs.job
        SET state = 'failed', message = '', body = NULL, worker = NULL, leased_until = NULL, updated_at = now(),
            reply = 'lost: the control database was put back to an earlier moment, so nobody knows whether it was done'
        WHERE state IN ('queued', 'working') RETURNING 1
    ),
    workers AS (DELETE FROM jobs.worker)
    SELECT count(*) FROM ended
$$;
REVOKE ALL ON FUNCTION jobs.put_back () FROM PUBLIC;

-- Cursors: their agents ask again.
SET LOCAL ROLE ostiary_cursors;

CREATE FUNCTION cursors.put_back() RETURNS int8
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH gone AS (DELETE FROM cursors.cursor RETURNING 1) SELECT count(*) FROM gone
$$;
REVOKE ALL ON FUNCTION cursors.put_back () FROM PUBLIC;

RESET ROLE;

DO $$
DECLARE
    named text;
BEGIN
    FOREACH named IN ARRAY ARRAY['approvals', 'changes', 'jobs', 'cursors'] LOOP
        EXECUTE format('SET LOCAL ROLE %I', 'ostiary_' || named);
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', named, session_user);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %I.put_back () TO %I', named, session_user);
        RESET ROLE;
    END LOOP;
    IF NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
        FOREACH named IN ARRAY ARRAY['ostiary_owner', 'ostiary_approvals', 'ostiary_changes', 'ostiary_jobs', 'ostiary_cursors'] LOOP
            EXECUTE format('REVOKE %I FROM %I', named, current_user);
        END LOOP;
    END IF;
END
$$;
