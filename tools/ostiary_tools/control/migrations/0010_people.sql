-- Calls that wait for people, and what people have said to them.
--
-- `ostiary_approvals` owns them too. The service, `ostiary_writer`, may ask and use up what was granted, through two
-- functions, and see nothing. Who applies this, the administrator, may look, grant and refuse.

DO $$
BEGIN
    -- An administrator that is no superuser must be a member to make things as the owner; taken back at the end.
    IF NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
        EXECUTE format('GRANT ostiary_approvals TO %I', current_user);
    END IF;
END
$$;

SET LOCAL ROLE ostiary_approvals;

CREATE TABLE approvals.asked (
    id text PRIMARY KEY, -- what people type
    about text NOT NULL UNIQUE, -- digest of the call, its agent, the policies and the schema
    agent text NOT NULL,
    roles text[] NOT NULL,
    tool text NOT NULL,
    datasource text NOT NULL,
    rules text[] NOT NULL,
    people int2 NOT NULL CHECK (people BETWEEN 1 AND 2),
    question text NOT NULL,
    shown text NOT NULL, -- digest of the question
    asked_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz NOT NULL,
    refused_by text NOT NULL DEFAULT ''
);
CREATE INDEX asked_expires_at ON approvals.asked (expires_at);
CREATE INDEX asked_agent ON approvals.asked (agent);

CREATE TABLE approvals.granted (
    asked text NOT NULL REFERENCES approvals.asked ON DELETE CASCADE,
    person text NOT NULL CHECK (person <> ''),
    login text NOT NULL DEFAULT session_user,
    granted_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (asked, person)
);

-- Asks, or finds the same call waiting already. No row where so many calls of the agent wait that one more may not.
CREATE FUNCTION approvals.ask(
    new_id text, call text, of_agent text, with_roles text[], to_tool text, at_datasource text, by_rules text[],
    of_people int, words text, digest text, lasts_s float8, most int
) RETURNS TABLE (id text, expires_at timestamptz)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    DELETE FROM approvals.asked WHERE expires_at <= clock_timestamp();
    IF (SELECT count(*) FROM approvals.asked WHERE agent = of_agent AND about <> call) >= most THEN
        RETURN;
    END IF;
    RETURN QUERY
        INSERT INTO approvals.asked AS a (id, about, agent, roles, tool, datasource, rules, people, question, shown, expires_at)
        VALUES (new_id, call, of_agent, with_roles, to_tool, at_datasource, by_rules, of_people, words, digest,
            clock_timestamp() + make_interval(secs => lasts_s))
        ON CONFLICT (about) DO UPDATE SET about = EXCLUDED.about
        RETURNING a.id, a.expires_at;
END
$$;

-- Takes the answer away, once: granted by as many as were wanted, or refused. No row while it waits.
CREATE FUNCTION approvals.take(call text) RETURNS TABLE (id text, shown text, granted_by text[], refused_by text)
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH taken AS (
        DELETE FROM approvals.asked AS a
        WHERE a.about = call AND a.expires_at > clock_timestamp()
            AND (a.refused_by <> '' OR (SELECT count(*) FROM approvals.granted AS g WHERE g.asked = a.id) >= a.people)
        RETURNING a.id, a.shown, a.refused_by
    )
    SELECT t.id, t.shown, ARRAY(SELECT g.person FROM approvals.granted AS g WHERE g.asked = t.id ORDER BY 1), t.refused_by
    FROM taken AS t
$$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA approvals FROM PUBLIC;
GRANT EXECUTE ON FUNCTION approvals.ask (text, text, text, text[], text, text, text[], int, text, text, float8, int)
    TO ostiary_writer;
GRANT EXECUTE ON FUNCTION approvals.take (text) TO ostiary_writer;

DO $$
BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA approvals TO %I', session_user);
    EXECUTE format('GRANT SELECT ON approvals.asked, approvals.granted TO %I', session_user);
    EXECUTE format('GRANT UPDATE (refused_by) ON approvals.asked TO %I', session_user);
    EXECUTE format('GRANT INSERT (asked, person) ON approvals.granted TO %I', session_user);
END
$$;

RESET ROLE;

DO $$
BEGIN
    IF NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
        EXECUTE format('REVOKE ostiary_approvals FROM %I', current_user);
    END IF;
END
$$;
