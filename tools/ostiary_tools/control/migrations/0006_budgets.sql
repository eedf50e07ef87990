-- Budgets: what each agent used in the window that runs, and what its calls on their way hold.
--
-- One row per agent, measure and window, whatever the history: a window begins with the first call after the one before
-- it ended, and the row is begun anew. `held` says by call what may yet be used; a call whose process died holds it until
-- the window ends.
--
-- `ostiary_budgets` owns the schema and nobody logs in as it. The service, `ostiary_writer`, may run the functions and
-- touches no row by itself.

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'ostiary_budgets') THEN
        -- Roles belong to the cluster: another database of it may be making the same one now.
        BEGIN
            CREATE ROLE ostiary_budgets NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;
        END;
    END IF;
    -- An administrator that is no superuser must be a member to make things as the owner; taken back at the end.
    IF NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
        EXECUTE format('GRANT ostiary_budgets TO %I', current_user);
    END IF;
END
$$;

CREATE SCHEMA budgets AUTHORIZATION ostiary_budgets;

SET LOCAL ROLE ostiary_budgets;

CREATE TABLE budgets.spent (
    agent text NOT NULL,
    measure text NOT NULL,
    window_s int4 NOT NULL CHECK (window_s > 0),
    began_at timestamptz NOT NULL,
    used float8 NOT NULL DEFAULT 0,
    held jsonb NOT NULL DEFAULT '{}', -- call → amount
    PRIMARY KEY (agent, measure, window_s)
);

-- Whether a window has passed. One that seems to begin later than now, because a clock was set back, ends within its length too.
CREATE FUNCTION budgets.passed(began_at timestamptz, window_s int4, present timestamptz) RETURNS bool
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT abs(extract(epoch FROM present - began_at)) >= window_s
$$;

CREATE FUNCTION budgets.held_by(held jsonb, besides text) RETURNS float8
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(sum(value::float8), 0) FROM jsonb_each_text(held) WHERE key <> besides
$$;

-- Locks an agent's rows of these budgets, in one order for everybody; those that were not there are made.
CREATE FUNCTION budgets.take_hold(of_agent text, measures text[], windows int4[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    locked int8;
BEGIN
    LOOP
        PERFORM FROM budgets.spent AS s WHERE s.agent = of_agent AND (s.measure, s.window_s) IN (SELECT * FROM unnest(measures, windows))
        ORDER BY s.measure, s.window_s FOR UPDATE;
        GET DIAGNOSTICS locked = ROW_COUNT;
        EXIT WHEN locked >= cardinality(measures);
        -- A first call, or one whose rows were just forgotten.
        INSERT INTO budgets.spent (agent, measure, window_s, began_at)
        SELECT of_agent, b.measure, b.window_s, clock_timestamp() FROM unnest(measures, windows) AS b (measure, window_s) ORDER BY 2, 3
        ON CONFLICT DO NOTHING;
    END LOOP;
END
$$;

-- Has a call hold its wish of every budget, or what is left of it; of none when of any less than `least` is left. Returns how
-- each budget stood before, and what is held now, NULL for nothing. Asked a second time for the same call it gives the same.
CREATE FUNCTION budgets.reserve(of_agent text, for_call uuid, measures text[], windows int4[], amounts float8[], wishes float8[], leasts float8[])
RETURNS TABLE (measure text, window_s int4, used float8, held float8, ends_in_s float8, granted float8)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    present timestamptz;
BEGIN
    PERFORM budgets.take_hold(of_agent, measures, windows);
    present := clock_timestamp();
    UPDATE budgets.spent AS s SET began_at = present, used = 0, held = '{}'
    WHERE s.agent = of_agent AND (s.measure, s.window_s) IN (SELECT * FROM unnest(measures, windows))
        AND budgets.passed(s.began_at, s.window_s, present);
    RETURN QUERY
    WITH standing AS (
        SELECT s.measure, s.window_s, s.used, budgets.held_by(s.held, for_call::text) AS held, b.amount, b.wish, b.least,
            s.window_s - abs(extract(epoch FROM present - s.began_at))::float8 AS ends_in_s
        FROM unnest(measures, windows, amounts, wishes, leasts) AS b (measure, window_s, amount, wish, least)
        JOIN budgets.spent AS s ON s.agent = of_agent AND s.measure = b.measure AND s.window_s = b.window_s
    ),
    taken AS (
        UPDATE budgets.spent AS s SET held = s.held || jsonb_build_object(for_call::text, least(t.wish, t.amount - t.used - t.held))
        FROM standing AS t
        WHERE s.agent = of_agent AND s.measure = t.measure AND s.window_s = t.window_s
            AND (SELECT bool_and(o.amount - o.used - o.held >= o.least) FROM standing AS o)
        RETURNING s.measure, s.window_s, (s.held ->> for_call::text)::float8 AS granted
    )
    SELECT t.measure, t.window_s, t.used, t.held, t.ends_in_s, k.granted
    FROM standing AS t LEFT JOIN taken AS k ON k.measure = t.measure AND k.window_s = t.window_s;
END
$$;

-- What a call really used takes the place of what it held. Once: a second time, or when the window has turned, nothing happens.
CREATE FUNCTION budgets.settle(of_agent text, of_call uuid, measures text[], windows int4[], amounts float8[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM budgets.take_hold(of_agent, measures, windows);
    UPDATE budgets.spent AS s SET used = s.used + b.amount, held = s.held - of_call::text
    FROM unnest(measures, windows, amounts) AS b (measure, window_s, amount)
    WHERE s.agent = of_agent AND s.measure = b.measure AND s.window_s = b.window_s AND s.held ? of_call::text;
END
$$;

-- An agent's windows that run.
CREATE FUNCTION budgets.standing(of_agent text) RETURNS TABLE (measure text, window_s int4, used float8, held float8, ends_in_s float8)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT s.measure, s.window_s, s.used, budgets.held_by(s.held, ''), s.window_s - abs(extract(epoch FROM clock_timestamp() - s.began_at))::float8
    FROM budgets.spent AS s
    WHERE s.agent = of_agent AND NOT budgets.passed(s.began_at, s.window_s, clock_timestamp())
$$;

-- Agents that have not called for long, some at a time; no row that somebody uses now.
CREATE FUNCTION budgets.forget() RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    DELETE FROM budgets.spent WHERE (agent, measure, window_s) IN (
        SELECT s.agent, s.measure, s.window_s FROM budgets.spent AS s
        WHERE s.began_at < clock_timestamp() - 2 * make_interval(secs => s.window_s) LIMIT 1000 FOR UPDATE SKIP LOCKED
    )
$$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA budgets FROM PUBLIC;
GRANT USAGE ON SCHEMA budgets TO ostiary_writer;
GRANT EXECUTE ON FUNCTION budgets.reserve (text, uuid, text[], int4[], float8[], float8[], float8[]) TO ostiary_writer;
GRANT EXECUTE ON FUNCTION budgets.settle (text, uuid, text[], int4[], float8[]) TO ostiary_writer;
GRANT EXECUTE ON FUNCTION budgets.standing (text), budgets.forget () TO ostiary_writer;

RESET ROLE;

DO $$
BEGIN
    IF NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
        EXECUTE format('REVOKE ostiary_budgets FROM %I', current_user);
    END IF;
END
$$;
