-- The house whose masks and row rules are attacked. Words between at-signs are canaries drawn for the run; two databases
-- are made that differ in nothing else. What a mask shows of a value is the same in both. Lines that begin with a bar exist
-- in the second database alone: hidden rows and masked values may differ in number and length.
CREATE TABLE people (
    id integer PRIMARY KEY,
    name text NOT NULL,
    team text NOT NULL,
    email text UNIQUE CHECK (email <> 'x@email@'),
    phone text,
    card text,
    code text,
    city text DEFAULT 'in @city@',
    notes text,
    born date,
    hired timestamptz,
    salary numeric(14, 2) NOT NULL,
    bonus integer,
    rating double precision,
    token text NOT NULL DEFAULT '@token@',
    pin integer NOT NULL,
    EXCLUDE USING btree (token WITH =),
    CONSTRAINT paid CHECK (salary > 0)
);
INSERT INTO people SELECT n, 'Person ' || n, (ARRAY['sales', 'care', 'it'])[1 + n % 3],
    'u@email@' || n || chr(64) || 'mail.example', '+47@phone@5309', '4@card@', 'QX@code@' || n, '@city@' || n,
    CASE WHEN n <> 3 THEN repeat('@notes@', @factor@) || n END, date '19@born@', timestamptz '20@hired@ 10:00+00',
    @salary@00 + @factor@ * n, @bonus@, @rating@00.5 + n, '@token@' || n, @pin@00 + n
FROM generate_series(1, 12) n;
CREATE INDEX people_some ON people (team) WHERE email <> 'x@email@';
CREATE INDEX people_salary ON people (salary);
CREATE INDEX people_lower_email ON people (lower(email));
CREATE STATISTICS people_lengths ON (length(notes)), (salary / 7) FROM people;

-- Many of them, so that statistics say much: in the second database values are fewer, longer, later, and more are missing.
CREATE TABLE many (id integer PRIMARY KEY, kind text, score integer, owner text);
INSERT INTO many SELECT n, CASE WHEN @factor@ = 1 OR n % 2 = 0 THEN repeat('@kind@', @factor@) || CASE WHEN @factor@ = 1 THEN n ELSE n % 5 END END,
    @bonus@ - n % (300 / @factor@), '@owner@' || n % (10 * @factor@) FROM generate_series(1, 3000) n;
-- The same without anything that hides a plan by itself: no index and no column that is withheld whole.
CREATE TABLE bulk (id integer PRIMARY KEY, kind text, score integer);
INSERT INTO bulk SELECT id, kind, score FROM many;
CREATE INDEX many_score ON many (score);
CREATE INDEX many_lower_kind ON many (lower(kind));
CREATE STATISTICS many_both (mcv) ON kind, score FROM many;

-- Masked values of every type that has no mask but the empty one.
CREATE TABLE oddities (
    id integer PRIMARY KEY,
    profile jsonb,
    langs text[],
    bytes bytea,
    key uuid,
    flag boolean,
    address inet,
    span int4range,
    point point,
    wait interval,
    bits bit varying
);
INSERT INTO oddities SELECT n, jsonb_build_object('seen', '@profile@' || n), ARRAY['@langs@' || n, 'x'], convert_to('@bytes@', 'UTF8'),
    (left('@uuid@' || repeat('0', 32), 32))::uuid, @factor@ > 1, inet '10.9.8.7' + @factor@, int4range(@factor@, 50 + @factor@),
    point(@bonus@, n), make_interval(secs => @bonus@), repeat('1', @factor@)::bit varying
FROM generate_series(1, 5) n;

-- What a keyed hash stands for.
CREATE TABLE badges (id integer PRIMARY KEY, badge text NOT NULL, number bigint, key uuid);
INSERT INTO badges SELECT n, '@badge@' || n % 5, @pin@00 + n % 5, (left('@uuid@' || repeat('0', 32), 32))::uuid FROM generate_series(1, 10) n;

-- Rows of the north are the agent's, in all variants of the rule.
CREATE TABLE docs (
    id integer PRIMARY KEY,
    region text NOT NULL,
    level integer NOT NULL,
    open boolean NOT NULL,
    made date NOT NULL,
    kind text NOT NULL,
    owner text NOT NULL,
    amount numeric(14, 2) NOT NULL,
    title text NOT NULL,
    body text,
    slug text UNIQUE,
    person_id integer REFERENCES people
);
|INSERT INTO docs SELECT n, 'south', 1, true, date '2025-03-01', 'memo', '@owner@' || n % 3, @amount@00 + n, '@title@', '@body@' || n, '@slug@' || n, 1 + n % 12
|FROM generate_series(1001, 3000) n;
INSERT INTO docs SELECT n, CASE WHEN n % 2 = 0 THEN 'north' ELSE 'south' END, n % 4, true, date '2025-03-01', 'memo', 'ana',
    CASE WHEN n % 2 = 0 THEN n ELSE @amount@00 + n END, CASE WHEN n % 2 = 0 THEN 'Title ' || n ELSE '@title@' || n END,
    CASE WHEN n % 2 = 0 THEN 'plain ' || n ELSE '@body@' || n END, CASE WHEN n % 2 = 0 THEN 's' || n ELSE '@slug@' || n END, 1 + n % 12
FROM generate_series(1, 40) n;
CREATE INDEX docs_region ON docs (region);
CREATE INDEX docs_owner ON docs (owner);
CREATE INDEX docs_amount ON docs (amount);

CREATE TABLE links (doc_id integer NOT NULL REFERENCES docs, label text NOT NULL);
INSERT INTO links SELECT n, 'link ' || n FROM generate_series(1, 40) n;

CREATE TABLE events (id integer NOT NULL, region text NOT NULL, note text) PARTITION BY LIST (region);
CREATE TABLE events_north PARTITION OF events FOR VALUES IN ('north');
CREATE TABLE events_south PARTITION OF events FOR VALUES IN ('south');
CREATE TABLE events_rest PARTITION OF events DEFAULT;
INSERT INTO events SELECT n, CASE WHEN n % 2 = 0 THEN 'north' ELSE 'south' END, CASE WHEN n % 2 = 0 THEN 'note ' || n ELSE '@event@' || n END
FROM generate_series(1, 20) n;
INSERT INTO events SELECT 100 + n, 'west', '@event@' || n FROM generate_series(1, @factor@) n;

CREATE TABLE assets (id integer, region text NOT NULL, serial text);
CREATE TABLE assets_special (extra text) INHERITS (assets);
INSERT INTO assets SELECT n, CASE WHEN n % 2 = 0 THEN 'north' ELSE 'south' END, '@serial@' || n FROM generate_series(1, 6) n;
INSERT INTO assets_special SELECT n, CASE WHEN n % 2 = 0 THEN 'north' ELSE 'south' END, '@serial@' || n, '@extra@' FROM generate_series(7, 12) n;

CREATE VIEW staff AS SELECT id, name, email, salary FROM people;
CREATE VIEW cards WITH (security_barrier) AS SELECT id, card FROM people;
CREATE VIEW papers AS SELECT id, region, body FROM docs;
CREATE MATERIALIZED VIEW pay AS SELECT id, team, salary, token FROM people;
CREATE VIEW everything AS SELECT * FROM people;

-- An agent may execute these; the first two are the cheapest a planner knows, so they would run before any rule.
CREATE FUNCTION tell(t text) RETURNS boolean IMMUTABLE COST 0.0001 LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'told %', t USING DETAIL = t, HINT = t; END $$;
CREATE FUNCTION warn(t text) RETURNS boolean IMMUTABLE COST 0.0001 LANGUAGE plpgsql AS
    $$ BEGIN RAISE WARNING 'told %', t; IF t LIKE '1%' THEN PERFORM 1 / 0; END IF; RETURN true; END $$;
CREATE FUNCTION divide(n numeric) RETURNS boolean IMMUTABLE COST 0.0001 LANGUAGE sql AS $$ SELECT 1 / ($1 - 1) > 0 $$;
CREATE FUNCTION email_of(p people) RETURNS text IMMUTABLE LANGUAGE sql AS $$ SELECT $1.email $$;
CREATE FUNCTION token_of(p people) RETURNS text STABLE LANGUAGE plpgsql AS $$ BEGIN RETURN p.token; END $$;
CREATE FUNCTION body_of(d docs) RETURNS text IMMUTABLE LANGUAGE sql AS $$ SELECT $1.body $$;
CREATE FUNCTION kind_of(b bulk) RETURNS text IMMUTABLE LANGUAGE sql AS $$ SELECT $1.kind $$;
CREATE FUNCTION score_of(b bulk) RETURNS integer STABLE LANGUAGE plpgsql AS $$ BEGIN RETURN b.score; END $$;
CREATE FUNCTION same(a anyelement) RETURNS anyelement IMMUTABLE LANGUAGE sql AS $$ SELECT $1 $$;
CREATE FUNCTION fields(r record) RETURNS text STABLE LANGUAGE plpgsql AS $$ BEGIN RETURN r::text; END $$;
CREATE FUNCTION below(a text, b text) RETURNS boolean IMMUTABLE COST 0.0001 LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'told %', a; END $$;
CREATE OPERATOR <<< (LEFTARG = text, RIGHTARG = text, FUNCTION = below);
CREATE FUNCTION gather(state text, value text) RETURNS text IMMUTABLE LANGUAGE sql AS $$ SELECT concat($1, $2) $$;
CREATE AGGREGATE gathered (text) (SFUNC = gather, STYPE = text);
-- It may not execute these.
CREATE FUNCTION top_salary() RETURNS numeric STABLE SECURITY DEFINER LANGUAGE sql AS $$ SELECT max(salary) FROM people $$;
CREATE FUNCTION secret_of(n integer) RETURNS text STABLE LANGUAGE sql AS $$ SELECT token FROM people WHERE id = $1 $$;
CREATE FUNCTION all_docs() RETURNS SETOF docs STABLE SECURITY DEFINER LANGUAGE plpgsql AS $$ BEGIN RETURN QUERY SELECT * FROM docs; END $$;
CREATE FUNCTION everybody() RETURNS SETOF people STABLE LANGUAGE sql AS $$ SELECT * FROM people $$;
CREATE FUNCTION hidden_count(d docs) RETURNS bigint STABLE LANGUAGE sql AS $$ SELECT count(*) FROM docs WHERE region <> 'north' $$;
COMMENT ON COLUMN people.token IS 'kept @comment@';
COMMENT ON CONSTRAINT paid ON people IS 'kept @comment@';
ANALYZE;
