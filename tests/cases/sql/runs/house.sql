-- A house whose functions say their own name each time they run, hung on everything that can run one unasked.
CREATE TABLE orders (id integer PRIMARY KEY, name text NOT NULL, total numeric NOT NULL, at timestamptz DEFAULT now(), tags text[], data jsonb);
INSERT INTO orders SELECT n, 'n' || n, n, '2026-01-01', '{a,b}', '{"a": 1}' FROM generate_series(1, 5) n;

CREATE FUNCTION spy(word text DEFAULT '') RETURNS boolean VOLATILE LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'spy'; RETURN true; END $$;
CREATE VIEW spied AS SELECT id, name FROM orders WHERE spy();
CREATE VIEW spied_again AS SELECT max(id) AS id FROM (SELECT id FROM spied) s;
CREATE VIEW spied_in_a_filter AS SELECT count(*) FILTER (WHERE spy(name)) AS n FROM orders;
CREATE VIEW spied_in_a_window AS SELECT lag(id) OVER (ORDER BY spy(name)) AS n FROM orders;
CREATE VIEW plain AS SELECT id, upper(name) AS name, total FROM orders WHERE total > 1;
CREATE VIEW settings_of_the_house AS SELECT current_setting('work_mem') AS memory, pg_database_size(current_database()) > 0 AS big,
    (SELECT count(*) FROM pg_catalog.pg_class) > 0 AS any;
CREATE MATERIALIZED VIEW spied_once AS SELECT id FROM orders WHERE spy();
CREATE VIEW locks AS SELECT id FROM orders WHERE pg_try_advisory_xact_lock(id);
CREATE VIEW locks_below AS SELECT id FROM (SELECT * FROM locks) l;
CREATE VIEW sleeps AS SELECT o.id FROM orders o, pg_sleep(0) p;
CREATE SEQUENCE tickets;
CREATE VIEW counts_on AS SELECT nextval('tickets') AS n;
CREATE VIEW reads_files AS SELECT f FROM pg_read_file('/etc/hostname') f;
CREATE VIEW reads_objects AS SELECT lo_get(1) AS o;
CREATE VIEW sets AS SELECT set_config('work_mem', '1MB', true) AS s;
CREATE VIEW runs_text AS SELECT query_to_xml('select 1', true, true, '')::text AS x;
CREATE VIEW ends_others AS SELECT pg_terminate_backend(0) AS t;
CREATE VIEW takes_a_transaction AS SELECT pg_current_xact_id()::text AS x;
CREATE FUNCTION locked_by_default(a integer DEFAULT pg_advisory_xact_lock_shared(1)::text::integer) RETURNS integer IMMUTABLE LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION spied_by_default(a boolean DEFAULT spy()) RETURNS boolean IMMUTABLE LANGUAGE sql AS 'SELECT a';

CREATE FUNCTION spy_secured(a integer) RETURNS boolean STABLE LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'spy_secured'; RETURN true; END $$;
CREATE TABLE secured (a integer);
INSERT INTO secured VALUES (1);
ALTER TABLE secured ENABLE ROW LEVEL SECURITY;
ALTER TABLE secured FORCE ROW LEVEL SECURITY;
CREATE POLICY p ON secured USING (spy_secured(a));
CREATE VIEW secured_below WITH (security_invoker) AS SELECT * FROM secured;

CREATE FUNCTION spy_check(t text) RETURNS boolean VOLATILE LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'spy_check'; RETURN true; END $$;
CREATE DOMAIN checked AS text CHECK (spy_check(VALUE));
CREATE TYPE holder AS (word checked, n integer);
CREATE FUNCTION takes_checked(c checked) RETURNS integer IMMUTABLE LANGUAGE sql AS 'SELECT length(c)';

CREATE TYPE mood AS ENUM ('ok', 'bad');
CREATE FUNCTION mood_number(m mood) RETURNS integer IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'mood_number'; RETURN 1; END $$;
CREATE CAST (mood AS integer) WITH FUNCTION mood_number(mood);
CREATE TYPE tint AS ENUM ('red', 'blue');
CREATE FUNCTION tint_json(t tint) RETURNS json IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'tint_json'; RETURN '1'; END $$;
CREATE CAST (tint AS json) WITH FUNCTION tint_json(tint);
CREATE TABLE tints (t tint);
INSERT INTO tints VALUES ('red');
CREATE VIEW tints_below AS SELECT row_to_json(x) AS r FROM tints x;
CREATE VIEW tints_counted AS SELECT count(*) AS n FROM tints;
CREATE FUNCTION mood_bool(m mood) RETURNS boolean IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'mood_bool'; RETURN true; END $$;
CREATE TYPE season AS ENUM ('dry', 'wet');
CREATE FUNCTION season_number(s season) RETURNS integer IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'season_number'; RETURN 1; END $$;
CREATE CAST (season AS integer) WITH FUNCTION season_number(season) AS IMPLICIT;
CREATE TABLE moods (m mood, s season, ms mood[]);
INSERT INTO moods VALUES ('ok', 'dry', '{ok,bad}'), ('bad', 'wet', '{}');

CREATE TYPE point3 AS (x integer, y integer, z integer);
CREATE FUNCTION point3_less(a point3, b point3) RETURNS boolean IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'point3_less'; RETURN a.x < b.x; END $$;
CREATE FUNCTION point3_same(a point3, b point3) RETURNS boolean IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'point3_same'; RETURN a.x = b.x; END $$;
CREATE FUNCTION point3_order(a point3, b point3) RETURNS integer IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'point3_order'; RETURN a.x - b.x; END $$;
CREATE OPERATOR <# (LEFTARG = point3, RIGHTARG = point3, FUNCTION = point3_less);
CREATE OPERATOR =# (LEFTARG = point3, RIGHTARG = point3, FUNCTION = point3_same);
CREATE OPERATOR CLASS point3_ops DEFAULT FOR TYPE point3 USING btree AS OPERATOR 1 <#, OPERATOR 3 =#, FUNCTION 1 point3_order(point3, point3);
CREATE TABLE places (p point3, q point3);
INSERT INTO places VALUES ((1, 2, 3), (4, 5, 6)), ((2, 3, 4), (2, 3, 4));
CREATE VIEW places_below AS SELECT DISTINCT p FROM places;

CREATE FUNCTION step_between(a text, b text) RETURNS float8 IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'step_between'; RETURN 1; END $$;
CREATE TYPE words AS RANGE (SUBTYPE = text, SUBTYPE_DIFF = step_between);
CREATE TABLE dictionary (w words);

-- Operators of common names that nobody but their own type means.
CREATE FUNCTION spy_equal(a mood, b text) RETURNS boolean VOLATILE LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'spy_equal'; RETURN true; END $$;
CREATE OPERATOR = (LEFTARG = mood, RIGHTARG = text, FUNCTION = spy_equal);
CREATE OPERATOR < (LEFTARG = mood, RIGHTARG = text, FUNCTION = spy_equal);
CREATE OPERATOR <> (LEFTARG = mood, RIGHTARG = text, FUNCTION = spy_equal);
CREATE FUNCTION spy_pair(a mood, b mood) RETURNS boolean VOLATILE LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'spy_pair'; RETURN true; END $$;
CREATE OPERATOR = (LEFTARG = mood, RIGHTARG = mood, FUNCTION = spy_pair);
CREATE FUNCTION spy_join(a integer, b timestamptz) RETURNS text VOLATILE LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'spy_join'; RETURN ''; END $$;
CREATE OPERATOR || (LEFTARG = integer, RIGHTARG = timestamptz, FUNCTION = spy_join);
CREATE OPERATOR !! (RIGHTARG = bigint, FUNCTION = pg_catalog.pg_advisory_xact_lock_shared);

CREATE FUNCTION sum_step(state integer, value integer) RETURNS integer IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'sum_step'; RETURN state + value; END $$;
CREATE FUNCTION sum_back(state integer, value integer) RETURNS integer IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'sum_back'; RETURN state - value; END $$;
CREATE AGGREGATE summed (integer) (SFUNC = sum_step, STYPE = integer, INITCOND = '0', MSFUNC = sum_step, MINVFUNC = sum_back, MSTYPE = integer, MINITCOND = '0');
CREATE FUNCTION note(state text, value text) RETURNS text VOLATILE LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'note'; RETURN state || value; END $$;
CREATE AGGREGATE noted (text) (SFUNC = note, STYPE = text, INITCOND = '');

CREATE TABLE parent (id integer, note text);
CREATE TABLE child (more text) INHERITS (parent);
COMMENT ON TABLE child IS '@secret';
COMMENT ON COLUMN child.note IS '@pii email';
CREATE TABLE parted (id integer, note text) PARTITION BY RANGE (id);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (10);
COMMENT ON TABLE parted_1 IS '@secret';
