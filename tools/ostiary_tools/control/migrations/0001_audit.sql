-- The append-only audit log: who owns it, who may add to it, who may read it.
--
-- `ostiary_owner` owns everything here and nobody logs in as it. `ostiary_writer` may add
-- rows and learn where a stream ends, not read what the rows say. `ostiary_reader` reads.
-- Runs as an administrator of the database; a superuser also gets the event triggers.

DO $$
DECLARE
    wanted record;
BEGIN
    FOR wanted IN SELECT * FROM (VALUES ('ostiary_owner', 'NOLOGIN'), ('ostiary_writer', 'LOGIN'), ('ostiary_reader', 'LOGIN')) AS r (name, login)
    LOOP
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = wanted.name) THEN
            -- Roles belong to the cluster: another database of it may be making the same one now.
            BEGIN
                EXECUTE format('CREATE ROLE %I %s NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS', wanted.name, wanted.login);
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                NULL;
            END;
        END IF;
    END LOOP;
    -- An administrator that is no superuser must be a member to make things as the owner; taken back at the end.
    IF NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
        EXECUTE format('GRANT ostiary_owner TO %I', current_user);
    END IF;
END
$$;

-- The database itself is closed to PUBLIC.
DO $$
BEGIN
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO ostiary_writer, ostiary_reader', current_database());
END $$;

CREATE SCHEMA audit AUTHORIZATION ostiary_owner;
CREATE SCHEMA ostiary_guard;

SET LOCAL ROLE ostiary_owner;

CREATE TABLE audit.installation (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    made_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
INSERT INTO audit.installation DEFAULT VALUES;

-- `body` is text and not jsonb: the stored bytes are the ones that were hashed.
CREATE TABLE audit.log (
    stream int4 NOT NULL,
    seq int8 NOT NULL,
    ts timestamptz NOT NULL,
    kind "char" NOT NULL,
    call_id uuid NOT NULL,
    body text NOT NULL,
    hash bytea NOT NULL,
    PRIMARY KEY (stream, seq, ts)
) PARTITION BY RANGE (ts);

-- `peaks` are the roots of the perfect subtrees of the first `size` records, so that the tree grows on without reading them again.
CREATE TABLE audit.checkpoint (
    stream int4 NOT NULL,
    size int8 NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    note text NOT NULL,
    peaks bytea NOT NULL,
    open_from int8 NOT NULL,
    PRIMARY KEY (stream, size)
);

-- Checkpoints over all streams at once: a stream that vanished is missed here.
CREATE TABLE audit.roster (
    id int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    note text NOT NULL
);

-- What stands in for a partition that was exported and dropped.
CREATE TABLE audit.seal (
    stream int4 NOT NULL,
    size int8 NOT NULL,
    partition text NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_ts timestamptz NOT NULL,
    hash bytea NOT NULL,
    note text NOT NULL,
    peaks bytea NOT NULL,
    PRIMARY KEY (stream, size)
);

-- The shape that schema `audit` must have; only the owner's two functions below change it.
CREATE TABLE audit.shape (
    only_row bool PRIMARY KEY DEFAULT true CHECK (only_row),
    digest text NOT NULL
);

-- True only inside a SECURITY DEFINER function of the owner: there `current_user` is the owner although nobody
-- took that role, neither by SET ROLE nor by SET SESSION AUTHORIZATION.
CREATE FUNCTION audit.inside() RETURNS bool
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN current_user = 'ostiary_owner' AND session_user <> 'ostiary_owner' AND current_setting('role') <> 'ostiary_owner';

CREATE FUNCTION audit.refuse() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'the audit log is append-only: % on %', tg_op, tg_table_name USING ERRCODE = 'insufficient_privilege';
END
$$;

CREATE FUNCTION audit.refuse_outside() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT audit.inside() THEN
        RAISE EXCEPTION 'only functions of the owner change %', tg_table_name USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NULL;
END
$$;

-- Row triggers are cloned to partitions, statement triggers are not, and neither fires for a session with
-- session_replication_role = replica unless it is ENABLE ALWAYS; so each table gets both, and always.
CREATE FUNCTION audit.protect(named regclass) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = named AND tgname = 'append_only_row') THEN
        EXECUTE format('CREATE TRIGGER append_only_row BEFORE UPDATE OR DELETE ON %s FOR EACH ROW EXECUTE FUNCTION audit.refuse()', named);
    END IF;
    EXECUTE format('CREATE TRIGGER append_only_statement BEFORE UPDATE OR DELETE OR TRUNCATE ON %s EXECUTE FUNCTION audit.refuse()', named);
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER append_only_row', named);
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER append_only_statement', named);
END
$$;
REVOKE ALL ON FUNCTION audit.protect (regclass) FROM PUBLIC;

SELECT audit.protect(t) FROM unnest(ARRAY['audit.installation', 'audit.log', 'audit.checkpoint', 'audit.roster', 'audit.seal']::regclass []) AS t;

CREATE TRIGGER only_inside BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON audit.shape EXECUTE FUNCTION audit.refuse_outside();
ALTER TABLE audit.shape ENABLE ALWAYS TRIGGER only_inside;
CREATE TRIGGER only_inside BEFORE INSERT ON audit.seal EXECUTE FUNCTION audit.refuse_outside();
ALTER TABLE audit.seal ENABLE ALWAYS TRIGGER only_inside;
CREATE TRIGGER only_inside BEFORE INSERT ON audit.installation EXECUTE FUNCTION audit.refuse_outside();
ALTER TABLE audit.installation ENABLE ALWAYS TRIGGER only_inside;

RESET ROLE;

-- A digest of everything DDL could change about the two schemas: tables, columns, rights, triggers and whether they
-- fire, rules, policies, functions, partitions. A changed digest is noticed whatever command changed it, by whatever name.
CREATE FUNCTION ostiary_guard.shape() RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    WITH spaces AS (SELECT * FROM pg_namespace WHERE nspname IN ('audit', 'ostiary_guard')),
    classes AS (SELECT c.* FROM pg_class AS c JOIN spaces ON spaces.oid = c.relnamespace),
    lines (line) AS (
        SELECT format('n %s %s %s %s', oid, nspname, nspowner, nspacl) FROM spaces
        UNION ALL SELECT format('c %s %s %s %s %s %s %s %s %s %s', oid, relnamespace, relname, relkind, relowner, relacl, relpersistence, relrowsecurity, relam, pg_get_expr(relpartbound, oid)) FROM classes
        UNION ALL SELECT format('a %s %s %s %s %s %s', attrelid, attnum, attname, atttypid, attnotnull, attacl) FROM pg_attribute JOIN classes ON classes.oid = attrelid
        UNION ALL SELECT format('d %s %s %s', adrelid, adnum, pg_get_expr(adbin, adrelid)) FROM pg_attrdef JOIN classes ON classes.oid = adrelid
        UNION ALL SELECT format('k %s %s %s', conrelid, conname, pg_get_constraintdef(c.oid)) FROM pg_constraint AS c JOIN classes ON classes.oid = conrelid
        UNION ALL SELECT format('t %s %s %s %s %s', tgrelid, tgname, tgfoid, tgtype, tgenabled) FROM pg_trigger JOIN classes ON classes.oid = tgrelid
        UNION ALL SELECT format('r %s %s %s %s', ev_class, rulename, ev_type, ev_enabled) FROM pg_rewrite JOIN classes ON classes.oid = ev_class
        UNION ALL SELECT format('p %s %s', polrelid, polname) FROM pg_policy JOIN classes ON classes.oid = polrelid
        UNION ALL SELECT format('i %s %s %s', inhrelid, inhparent, inhdetachpending) FROM pg_inherits JOIN classes ON classes.oid = inhparent
        UNION ALL SELECT format('f %s %s %s %s %s %s %s %s', p.oid, pronamespace, proname, proowner, proacl, prosecdef, proconfig, pg_get_functiondef(p.oid)) FROM pg_proc AS p JOIN spaces ON spaces.oid = pronamespace WHERE prokind IN ('f', 'p')
    )
    SELECT encode(sha256(convert_to(string_agg(line, E'\n' ORDER BY line COLLATE "C"), 'UTF8')), 'hex') FROM lines
$$;

CREATE FUNCTION ostiary_guard.shape_holds() RETURNS bool
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce((SELECT digest FROM audit.shape) = ostiary_guard.shape(), false)
$$;

-- Lives outside schema `audit` and does not belong to its owner: neither DROP SCHEMA audit CASCADE nor
-- DROP FUNCTION .. CASCADE by the owner takes the event trigger away before it looks.
CREATE FUNCTION ostiary_guard.refuse_ddl() RETURNS event_trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF to_regprocedure('audit.inside()') IS NOT NULL AND to_regclass('audit.shape') IS NOT NULL THEN
        IF current_user = 'ostiary_owner' AND audit.inside() THEN
            RETURN;
        END IF;
        IF ostiary_guard.shape_holds() THEN
            RETURN;
        END IF;
    END IF;
    RAISE EXCEPTION 'schema audit is protected: % changes it', tg_tag USING ERRCODE = 'insufficient_privilege';
END
$$;

SET LOCAL ROLE ostiary_owner;

CREATE FUNCTION audit.keep_shape() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO audit.shape (digest) VALUES (ostiary_guard.shape())
    ON CONFLICT (only_row) DO UPDATE SET digest = excluded.digest;
END
$$;
REVOKE ALL ON FUNCTION audit.keep_shape () FROM PUBLIC;

-- Makes the partition of this month and of the next `months`, in UTC; returns the moment from which rows have none.
CREATE FUNCTION audit.make_partitions(months int4) RETURNS timestamptz
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET lock_timeout = '5s' AS $$
DECLARE
    first_day timestamptz := date_trunc('month', clock_timestamp());
    named text;
    made bool := false;
BEGIN
    IF months NOT BETWEEN 0 AND 36 THEN
        RAISE EXCEPTION 'partitions are made 0 to 36 months ahead' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM pg_advisory_xact_lock(4713, 1);
    FOR ahead IN 0..months LOOP
        named := 'log_' || to_char(first_day, 'YYYY_MM');
        IF to_regclass('audit.' || named) IS NULL THEN
            -- Attached rather than made in place: ATTACH lets rows go on arriving elsewhere meanwhile.
            EXECUTE format('CREATE TABLE audit.%I (LIKE audit.log INCLUDING ALL)', named);
            EXECUTE format('ALTER TABLE audit.log ATTACH PARTITION audit.%I FOR VALUES FROM (%L) TO (%L)', named, first_day, first_day + interval '1 month');
            PERFORM audit.protect(to_regclass('audit.' || named));
            EXECUTE format('GRANT SELECT ON audit.%I TO ostiary_reader', named);
            made := true;
        END IF;
        first_day := first_day + interval '1 month';
    END LOOP;
    IF made THEN
        PERFORM audit.keep_shape();
    END IF;
    RETURN first_day;
END
$$;

-- Drops the oldest partition, which must be a past month, once a signed checkpoint stands for every stream in it.
-- `seals` is a JSON array of {stream, size, hash, note, peaks}, bytes in hex.
CREATE FUNCTION audit.seal_partition(named text, seals jsonb) RETURNS int8
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET lock_timeout = '30s' AS $$
DECLARE
    oldest text;
    wrong int4;
    sealed int8;
BEGIN
    PERFORM pg_advisory_xact_lock(4713, 1);
    SELECT min(c.relname) INTO oldest FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid WHERE i.inhparent = 'audit.log'::regclass;
    IF named IS DISTINCT FROM oldest OR named >= 'log_' || to_char(clock_timestamp(), 'YYYY_MM') THEN
        RAISE EXCEPTION 'only the oldest partition of a past month can be sealed, not %', named USING ERRCODE = 'invalid_parameter_value';
    END IF;
    EXECUTE format('LOCK TABLE audit.%I IN SHARE MODE', named);
    EXECUTE format($q$
        SELECT count(*) FROM (SELECT stream, max(seq) AS size FROM audit.%1$I GROUP BY stream) AS ends
        FULL JOIN jsonb_to_recordset($1) AS s (stream int4, size int8, hash text, note text, peaks text) USING (stream, size)
        LEFT JOIN audit.%1$I AS last ON last.stream = ends.stream AND last.seq = ends.size
        WHERE ends.size IS NULL OR s.note IS NULL OR last.hash IS DISTINCT FROM decode(s.hash, 'hex')
    $q$, named) INTO wrong USING seals;
    IF wrong > 0 THEN
        RAISE EXCEPTION 'the seals do not stand for the records of %', named USING ERRCODE = 'invalid_parameter_value';
    END IF;
    EXECUTE format($q$
        INSERT INTO audit.seal (stream, size, partition, last_ts, hash, note, peaks)
        SELECT s.stream, s.size, %1$L, last.ts, last.hash, s.note, decode(s.peaks, 'hex')
        FROM jsonb_to_recordset($1) AS s (stream int4, size int8, hash text, note text, peaks text)
        JOIN audit.%1$I AS last ON last.stream = s.stream AND last.seq = s.size
    $q$, named) USING seals;
    EXECUTE format('SELECT count(*) FROM audit.%I', named) INTO sealed;
    EXECUTE format('ALTER TABLE audit.log DETACH PARTITION audit.%I', named);
    EXECUTE format('DROP TABLE audit.%I', named);
    PERFORM audit.keep_shape();
    RETURN sealed;
END
$$;

-- Where a stream ends: its last record, or the seal that stands for it; no row when it never began.
CREATE FUNCTION audit.head(of_stream int4) RETURNS TABLE (seq int8, ts timestamptz, hash bytea)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT * FROM (
        (SELECT l.seq, l.ts, l.hash FROM audit.log AS l WHERE l.stream = of_stream ORDER BY l.seq DESC LIMIT 1)
        UNION ALL
        (SELECT s.size, s.last_ts, s.hash FROM audit.seal AS s WHERE s.stream = of_stream ORDER BY s.size DESC LIMIT 1)
    ) AS ends ORDER BY seq DESC LIMIT 1
$$;

-- What a process that continues a stream must know of its last records; not what they say.
CREATE FUNCTION audit.tail(of_stream int4, after int8, at_most int4)
RETURNS TABLE (seq int8, kind "char", call_id uuid, hash bytea, intent int8, agent text, tool text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT
        l.seq, l.kind, l.call_id, l.hash,
        CASE WHEN l.kind = 'o' THEN (l.body::json ->> 'intent')::int8 END,
        CASE WHEN l.kind = 'i' THEN l.body::json ->> 'agent' END,
        CASE WHEN l.kind = 'i' THEN l.body::json ->> 'tool' END
    FROM audit.log AS l WHERE l.stream = of_stream AND l.seq > after ORDER BY l.seq LIMIT at_most
$$;

-- Every stream there ever was, with its head and its newest checkpoint. Each is one look into an index, whatever the history.
CREATE FUNCTION audit.streams() RETURNS TABLE (stream int4, seq int8, size int8, note text, peaks bytea, open_from int8)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH RECURSIVE written (id) AS (
        SELECT min(l.stream) FROM audit.log AS l
        UNION ALL SELECT (SELECT min(l.stream) FROM audit.log AS l WHERE l.stream > written.id) FROM written WHERE written.id IS NOT NULL
    ),
    checked (id) AS (
        SELECT min(c.stream) FROM audit.checkpoint AS c
        UNION ALL SELECT (SELECT min(c.stream) FROM audit.checkpoint AS c WHERE c.stream > checked.id) FROM checked WHERE checked.id IS NOT NULL
    ),
    known (id) AS (SELECT id FROM written WHERE id IS NOT NULL UNION SELECT id FROM checked WHERE id IS NOT NULL)
    SELECT known.id, coalesce(h.seq, 0), c.size, c.note, c.peaks, c.open_from
    FROM known
    LEFT JOIN LATERAL audit.head(known.id) AS h ON true
    LEFT JOIN LATERAL (SELECT * FROM audit.checkpoint AS k WHERE k.stream = known.id ORDER BY k.size DESC LIMIT 1) AS c ON true
    ORDER BY known.id
$$;

REVOKE ALL ON FUNCTION audit.make_partitions (int4), audit.seal_partition (text, jsonb), audit.head (int4), audit.tail (int4, int8, int4), audit.streams () FROM PUBLIC;

GRANT USAGE ON SCHEMA audit TO ostiary_writer, ostiary_reader;
GRANT INSERT ON audit.log, audit.checkpoint, audit.roster TO ostiary_writer;
GRANT SELECT ON audit.installation TO ostiary_writer;
GRANT EXECUTE ON FUNCTION audit.make_partitions (int4), audit.head (int4), audit.tail (int4, int8, int4), audit.streams () TO ostiary_writer;
GRANT SELECT ON audit.installation, audit.log, audit.checkpoint, audit.roster, audit.seal TO ostiary_reader;
GRANT EXECUTE ON FUNCTION audit.streams () TO ostiary_reader;

-- The administrator seals, migrates and looks whether the shape holds; the service never does.
DO $$
BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA audit TO %I', session_user);
    EXECUTE format('GRANT SELECT ON audit.shape TO %I', session_user);
    EXECUTE format('GRANT EXECUTE ON FUNCTION audit.make_partitions (int4), audit.seal_partition (text, jsonb), audit.keep_shape () TO %I', session_user);
END
$$;

RESET ROLE;

GRANT USAGE ON SCHEMA ostiary_guard TO PUBLIC;

DO $$
BEGIN
    CREATE EVENT TRIGGER ostiary_guard_ddl ON ddl_command_end EXECUTE FUNCTION ostiary_guard.refuse_ddl();
    CREATE EVENT TRIGGER ostiary_guard_drop ON sql_drop EXECUTE FUNCTION ostiary_guard.refuse_ddl();
    ALTER EVENT TRIGGER ostiary_guard_ddl ENABLE ALWAYS;
    ALTER EVENT TRIGGER ostiary_guard_drop ENABLE ALWAYS;
EXCEPTION WHEN insufficient_privilege THEN
    -- A managed service: rights and refusing triggers hold all the same, and the log says that this guard is missing.
    NULL;
END
$$;

DO $$
BEGIN
    IF NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
        EXECUTE format('REVOKE ostiary_owner FROM %I', current_user);
    END IF;
END
$$;
