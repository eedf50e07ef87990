-- Budgets of distinct things: how many different ones an agent touches in a window. The same one again costs nothing.
--
-- What was touched counts when the call is let through and is not given back: `used` says how many, `budgets.touched` which.
-- They go with their window: when it turns, or when its row is forgotten.

DO $$
BEGIN
    -- An administrator that is no superuser must be a member to make things as the owner; taken back at the end.
    IF NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
        EXECUTE format('GRANT ostiary_budgets TO %I', current_user);
    END IF;
END
$$;

SET LOCAL ROLE ostiary_budgets;

CREATE TABLE budgets.touched (
    agent text NOT NULL,
    measure text NOT NULL,
    window_s int4 NOT NULL,
    item text NOT NULL,
    PRIMARY KEY (agent, measure, window_s, item),
    FOREIGN KEY (agent, measure, window_s) REFERENCES budgets.spent ON DELETE CASCADE
);

-- Begins the agent's windows anew that have passed, of these budgets. Their rows are locked.
CREATE FUNCTION budgets.turn(of_agent text, measures text[], windows int4[], present timestamptz) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    WITH turned AS (
        UPDATE budgets.spent AS s SET began_at = present, used = 0, held = '{}'
        WHERE s.agent = of_agent AND (s.measure, s.window_s) IN (SELECT * FROM unnest(measures, windows))
            AND budgets.passed(s.began_at, s.window_s, present)
        RETURNING s.agent, s.measure, s.window_s
    )
    DELETE FROM budgets.touched AS x USING turned AS t
    WHERE x.agent = t.agent AND x.measure = t.measure AND x.window_s = t.window_s
$$;

-- The items that the agent has not touched in a window, in their order.
CREATE FUNCTION budgets.fresh(of_agent text, of_measure text, of_window int4, items text[]) RETURNS text[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(array_agg(DISTINCT i.item ORDER BY i.item), '{}') FROM unnest(items) AS i (item)
    WHERE NOT EXISTS (
        SELECT FROM budgets.touched AS x
        WHERE x.agent = of_agent AND x.measure = of_measure AND x.window_s = of_window AND x.item = i.item
    )
$$;

DROP FUNCTION budgets.reserve (text, uuid, text[], int4[], float8[], float8[], float8[]);

-- Has a call hold its wish of every budget, or what is left of it; of none when of any less than `least` is left. Of a budget of
-- distinct things, those of `items` that are new count at once, all or none; the wish says nothing there. Returns how each budget
-- stood before, what is held now, NULL for nothing, the new items, and whether too little was left. Asked a second time for the
-- same call it gives the same, but that items are not new any more.
CREATE FUNCTION budgets.reserve(
    of_agent text, for_call uuid, measures text[], windows int4[], amounts float8[], wishes float8[], leasts float8[],
    items text[] DEFAULT '{}'
)
RETURNS TABLE (measure text, window_s int4, used float8, held float8, ends_in_s float8, granted float8, fresh text[], short bool)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    present timestamptz;
BEGIN
    PERFORM budgets.take_hold(of_agent, measures, windows);
    present := clock_timestamp();
    PERFORM budgets.turn(of_agent, measures, windows, present);
    RETURN QUERY
    WITH asked AS (
        SELECT b.*, b.measure = 'masked_columns' AS counts_distinct,
            CASE WHEN b.measure = 'masked_columns' THEN budgets.fresh(of_agent, b.measure, b.window_s, items) END AS fresh
        FROM unnest(measures, windows, amounts, wishes, leasts) AS b (measure, window_s, amount, wish, least)
    ),
    standing AS (
        SELECT s.measure, s.window_s, s.used, h.held, a.amount, a.wish, a.counts_distinct, a.fresh,
            s.window_s - abs(extract(epoch FROM present - s.began_at))::float8 AS ends_in_s,
            -- What was touched before stays free, also where the budget is less now than what was used of it.
            CASE WHEN a.counts_distinct THEN cardinality(a.fresh) > 0 AND a.amount - s.used < cardinality(a.fresh)
            ELSE a.amount - s.used - h.held < a.least END AS short
        FROM asked AS a
        JOIN budgets.spent AS s ON s.agent = of_agent AND s.measure = a.measure AND s.window_s = a.window_s
        CROSS JOIN LATERAL (SELECT budgets.held_by(s.held, for_call::text)) AS h (held)
    ),
    taken AS (
        UPDATE budgets.spent AS s SET
            used = CASE WHEN t.counts_distinct THEN s.used + cardinality(t.fresh) ELSE s.used END,
            held = CASE
                WHEN t.counts_distinct THEN s.held
                ELSE s.held || jsonb_build_object(for_call::text, least(t.wish, t.amount - t.used - t.held))
            END
        FROM standing AS t
        WHERE s.agent = of_agent AND s.measure = t.measure AND s.window_s = t.window_s
            AND NOT (SELECT bool_or(o.short) FROM standing AS o)
        RETURNING s.measure, s.window_s,
            CASE WHEN t.counts_distinct THEN cardinality(t.fresh) ELSE (s.held ->> for_call::text)::float8 END AS granted
    ),
    kept AS (
        INSERT INTO budgets.touched (agent, measure, window_s, item)
        SELECT of_agent, t.measure, t.window_s, unnest(t.fresh)
        FROM standing AS t JOIN taken AS k ON k.measure = t.measure AND k.window_s = t.window_s
    )
    SELECT t.measure, t.window_s, t.used, t.held, t.ends_in_s, k.granted, t.fresh, t.short
    FROM standing AS t LEFT JOIN taken AS k ON k.measure = t.measure AND k.window_s = t.window_s;
END
$$;

REVOKE ALL ON FUNCTION budgets.turn (text, text[], int4[], timestamptz), budgets.fresh (text, text, int4, text[]) FROM PUBLIC;
REVOKE ALL ON FUNCTION budgets.reserve (text, uuid, text[], int4[], float8[], float8[], float8[], text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION budgets.reserve (text, uuid, text[], int4[], float8[], float8[], float8[], text[]) TO ostiary_writer;

RESET ROLE;

DO $$
BEGIN
    IF NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
        EXECUTE format('REVOKE ostiary_budgets FROM %I', current_user);
    END IF;
END
$$;
