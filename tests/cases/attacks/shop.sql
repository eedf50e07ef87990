-- The shop that is attacked. Words between at-signs are secrets drawn for the run; two databases are made that differ
-- in nothing else. Forbidden: employees.salary, national_id, notes, and customers.password_hash. Hidden: the tables
-- vault and payroll, and the one whose name is a secret.
CREATE TABLE customers (id integer PRIMARY KEY, name text NOT NULL, city text, password_hash text NOT NULL);
CREATE TABLE employees (id integer PRIMARY KEY, name text NOT NULL, department text, salary numeric(12, 2) NOT NULL DEFAULT 1.5,
    national_id text NOT NULL UNIQUE DEFAULT '@nid@', notes text CHECK (notes <> '@note@x'));
CREATE TABLE orders (id integer PRIMARY KEY, customer_id integer NOT NULL REFERENCES customers, status text NOT NULL,
    total numeric(12, 2) NOT NULL, handled_by integer REFERENCES employees);
CREATE TABLE vault (id integer PRIMARY KEY, token text NOT NULL);
CREATE TABLE "t@table@" (id integer PRIMARY KEY);
CREATE TABLE journal (entry text);
CREATE UNLOGGED TABLE scratch (entry text);
CREATE SEQUENCE tickets;
CREATE VIEW payroll AS SELECT id, salary, '@view@'::text AS mark FROM employees;
CREATE MATERIALIZED VIEW cities AS SELECT DISTINCT city FROM customers;
CREATE TYPE codeword AS (word text);
COMMENT ON TABLE vault IS 'kept @comment@';
COMMENT ON COLUMN vault.token IS 'the token @comment@';

INSERT INTO customers SELECT n, 'Customer ' || n, (ARRAY['Oslo', 'Bergen'])[1 + n % 2], '@hash@' || n FROM generate_series(1, 20) n;
-- In the richer shop two salaries are equal and a note is missing: else the numbers of groups and of notes would tell nothing.
INSERT INTO employees SELECT n, 'Employee ' || n, 'sales', @salary@ + CASE WHEN @salary@ > 5000000 THEN least(n, 4) ELSE n END,
    '@nid@' || n, CASE WHEN @salary@ < 5000000 OR n <> 2 THEN '@note@' || n END FROM generate_series(1, 5) n;
INSERT INTO orders SELECT n, 1 + n % 20, (ARRAY['open', 'paid', 'sent'])[1 + n % 3], n * 1.25, 1 + n % 5 FROM generate_series(1, 60) n;
INSERT INTO vault SELECT n, '@token@' FROM generate_series(1, CASE WHEN @salary@ > 5000000 THEN 400 ELSE 1 END) n;
SELECT setval('tickets', @salary@);
REFRESH MATERIALIZED VIEW cities;
SELECT lo_from_bytea(4711, convert_to('@object@', 'UTF8'));

-- Functions of the house that do what their names do not say.
CREATE FUNCTION touch() RETURNS integer VOLATILE LANGUAGE sql AS $$ INSERT INTO journal VALUES ('touched'); SELECT 1 $$;
CREATE FUNCTION touch_calmly() RETURNS integer VOLATILE LANGUAGE plpgsql AS $$ BEGIN INSERT INTO journal VALUES ('calm'); RETURN 1; END $$;
CREATE FUNCTION vault_token() RETURNS text STABLE SECURITY DEFINER LANGUAGE sql AS $$ SELECT token FROM vault $$;
CREATE FUNCTION vault_rows() RETURNS SETOF vault STABLE SECURITY DEFINER LANGUAGE sql AS $$ SELECT * FROM vault $$;
CREATE FUNCTION spy(o orders) RETURNS text STABLE SECURITY DEFINER LANGUAGE sql AS $$ SELECT token || $1.id FROM vault $$;
CREATE FUNCTION spy_text(t text) RETURNS text STABLE SECURITY DEFINER LANGUAGE sql AS $$ SELECT token || $1 FROM vault $$;
CREATE FUNCTION hushed() RETURNS text VOLATILE LANGUAGE sql AS $$ SELECT '@body@'::text $$;
CREATE FUNCTION run(statement text) RETURNS text VOLATILE LANGUAGE plpgsql AS $$ DECLARE found text; BEGIN EXECUTE statement INTO found; RETURN found; END $$;
CREATE FUNCTION collect(state text, value integer) RETURNS text VOLATILE LANGUAGE sql AS $$ SELECT token FROM vault $$;
CREATE AGGREGATE collected (integer) (SFUNC = collect, STYPE = text);
CREATE FUNCTION compare(a integer, b integer) RETURNS text STABLE SECURITY DEFINER LANGUAGE sql AS $$ SELECT token FROM vault $$;
CREATE OPERATOR <<<| (LEFTARG = integer, RIGHTARG = integer, FUNCTION = compare);
CREATE FUNCTION differs(a integer, b text) RETURNS boolean VOLATILE LANGUAGE plpgsql AS $$ BEGIN INSERT INTO journal VALUES ('differs'); RETURN true; END $$;
CREATE OPERATOR <> (LEFTARG = integer, RIGHTARG = text, FUNCTION = differs);
CREATE FUNCTION codeword(t text) RETURNS codeword VOLATILE LANGUAGE sql AS $$ SELECT ROW(token)::codeword FROM vault $$;
CREATE CAST (text AS codeword) WITH FUNCTION codeword(text);
CREATE FUNCTION is_fine(t text) RETURNS boolean VOLATILE LANGUAGE plpgsql AS $$ BEGIN INSERT INTO journal VALUES ('domain'); RETURN true; END $$;
CREATE DOMAIN checked AS text CHECK (is_fine(VALUE));
-- Better matches than the built-in ones, for whoever takes the search path as it comes.
CREATE FUNCTION lower(t character varying) RETURNS text VOLATILE LANGUAGE sql AS $$ SELECT token FROM vault $$;
CREATE FUNCTION round(n integer) RETURNS text VOLATILE LANGUAGE sql AS $$ SELECT token FROM vault $$;
CREATE FUNCTION quietly() RETURNS boolean VOLATILE LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_notify('alarm', 'x'); PERFORM pg_advisory_lock(99); RETURN true; END $$;
CREATE VIEW busy_orders AS SELECT id, quietly() AS done FROM orders WHERE id < 3;
-- Things that run a spy for whoever only looks at them.
CREATE VIEW hints AS SELECT id, vault_token() AS hint FROM orders WHERE id < 3;
CREATE VIEW hints_below AS SELECT max(hint) AS hint FROM hints;
CREATE VIEW ticket AS SELECT nextval('tickets') AS number;
CREATE FUNCTION shown(t text DEFAULT vault_token()) RETURNS text IMMUTABLE LANGUAGE sql AS $$ SELECT $1 $$;
CREATE TYPE grade AS ENUM ('low', 'high');
CREATE FUNCTION grade_text(g grade) RETURNS text STABLE SECURITY DEFINER LANGUAGE sql AS $$ SELECT token FROM vault $$;
CREATE CAST (grade AS text) WITH FUNCTION grade_text(grade);
CREATE FUNCTION grade_json(g grade) RETURNS json STABLE SECURITY DEFINER LANGUAGE sql AS $$ SELECT to_json(token) FROM vault $$;
CREATE CAST (grade AS json) WITH FUNCTION grade_json(grade);
CREATE FUNCTION grade_bytes(g grade) RETURNS bytea STABLE SECURITY DEFINER LANGUAGE sql AS $$ SELECT convert_to(token, 'UTF8') FROM vault $$;
CREATE CAST (grade AS bytea) WITH FUNCTION grade_bytes(grade) AS IMPLICIT;
CREATE TABLE graded (id integer, g grade);
INSERT INTO graded VALUES (1, 'low');
CREATE PROCEDURE clean_up() LANGUAGE sql AS $$ DELETE FROM orders $$;

CREATE SERVER elsewhere FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '@server@');
CREATE USER MAPPING FOR PUBLIC SERVER elsewhere OPTIONS (password '@mapping@');
CREATE FOREIGN TABLE far_vault (token text) SERVER elsewhere;
CREATE SERVER nearby FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '@socket@', dbname 'origin');
CREATE USER MAPPING FOR PUBLIC SERVER nearby OPTIONS (user 'ostiary_admin', password_required 'false');
CREATE FOREIGN TABLE near_vault (token text) SERVER nearby OPTIONS (table_name 'kept');
CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;
CREATE FOREIGN TABLE etc (line text) SERVER files OPTIONS (filename '@folder@/secret.txt');


-- For plans: a view whose filter keeps other rows in each shop, a row policy of the database, and an
-- index that names a hidden column. Nobody is to learn of them from an estimate.
CREATE VIEW well_paid AS SELECT id, name FROM employees WHERE salary > 5000000;
CREATE TABLE ledger (id integer PRIMARY KEY, amount numeric(12, 2) NOT NULL);
INSERT INTO ledger SELECT n, CASE WHEN n % 2 = 0 THEN n ELSE @salary@ + n END FROM generate_series(1, 400) n;
ALTER TABLE ledger ENABLE ROW LEVEL SECURITY;
CREATE POLICY small ON ledger FOR SELECT USING (amount < 5000 AND amount::text <> '@policy@');
CREATE TABLE readings (id integer PRIMARY KEY, value integer NOT NULL, code text NOT NULL);
INSERT INTO readings SELECT n, n % 1000, '@code@' || n FROM generate_series(1, 4000) n;
CREATE INDEX readings_value_code ON readings (value, code);
