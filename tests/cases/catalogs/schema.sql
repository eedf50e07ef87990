-- A schema with one of everything that the offered catalogs tell of, in names that need quotes where that is possible.
CREATE SCHEMA sales;
CREATE SCHEMA "Odd Schema";
COMMENT ON SCHEMA sales IS 'what is sold';
CREATE TYPE sales.state AS ENUM ('new', 'it''s paid', 'Sent');
COMMENT ON TYPE sales.state IS 'where an order stands';
CREATE DOMAIN sales.amount AS numeric(12, 2) NOT NULL CHECK (VALUE >= 0);
CREATE DOMAIN code AS varchar(8);
CREATE TYPE sales.address AS (street text, zip char(5));
CREATE TABLE customers (
    id integer GENERATED ALWAYS AS IDENTITY (START WITH 100 INCREMENT BY 5) PRIMARY KEY,
    name text NOT NULL, short code, born date, seen timestamptz(3) DEFAULT now(), tags text[] NOT NULL DEFAULT '{}',
    home sales.address, score real, exact double precision, flags bit(3), mask varbit, wait interval day to second,
    nap interval, active boolean DEFAULT true, country char(2) DEFAULT 'no'::bpchar, note varchar, doc jsonb, key uuid,
    span int4range, moods sales.state[], ip inet, at time(2), small smallint DEFAULT 7, big bigint,
    upper_name text GENERATED ALWAYS AS (upper(name)) STORED,
    CONSTRAINT customers_short_key UNIQUE (short) DEFERRABLE INITIALLY DEFERRED,
    CONSTRAINT "Weird Check" CHECK (score > 0 AND exact > score), CHECK (small IN (1, 2, 7)) NO INHERIT);
COMMENT ON TABLE customers IS 'people who "buy"';
COMMENT ON COLUMN customers.name IS 'as they write it';
CREATE INDEX customers_lower ON customers (lower(name), born DESC NULLS LAST) WHERE active AND country = 'no';
CREATE INDEX customers_tags ON customers USING gin (tags);
CREATE INDEX customers_doc ON customers USING hash (key);
CREATE TABLE sales.orders (
    id serial PRIMARY KEY, customer integer NOT NULL REFERENCES customers ON DELETE CASCADE ON UPDATE SET NULL, state sales.state NOT NULL,
    total sales.amount, placed timestamp(0) NOT NULL, room int, during tsrange, parent integer REFERENCES sales.orders,
    EXCLUDE USING gist (during WITH &&), UNIQUE (customer, placed));
CREATE INDEX "Orders By State" ON sales.orders (state) INCLUDE (total);
CREATE TABLE sales.lines (order_id integer, customer integer, "Line No" smallint, what text COLLATE "C", price numeric,
    PRIMARY KEY (order_id, "Line No"));
CREATE TABLE sales.pairs (a integer, b integer, PRIMARY KEY (a, b));
CREATE TABLE sales.uses (x integer, y integer, FOREIGN KEY (y, x) REFERENCES sales.pairs (b, a) MATCH FULL ON DELETE RESTRICT);
CREATE TABLE events (id bigint, at date NOT NULL, kind text, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE TABLE events_2026 PARTITION OF events FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
CREATE TABLE base (a integer, b text);
CREATE TABLE derived (c integer) INHERITS (base);
CREATE TABLE "Odd Schema"."T ""q"" 'x'" ("Col ""1""" integer, "select" text DEFAULT 'a');
CREATE UNLOGGED TABLE scratch (v integer);
CREATE VIEW open_orders AS SELECT id, customer, total FROM sales.orders WHERE state = 'new';
CREATE VIEW sales.totals AS SELECT customer, sum(total) AS total FROM sales.orders GROUP BY customer;
CREATE MATERIALIZED VIEW sales.daily AS SELECT placed::date AS day, count(*) AS orders FROM sales.orders GROUP BY 1;
CREATE UNIQUE INDEX daily_day ON sales.daily (day);
CREATE FUNCTION discount(price numeric, share numeric DEFAULT 0.1) RETURNS numeric IMMUTABLE STRICT LANGUAGE sql AS 'SELECT price * (1 - share)';
CREATE FUNCTION discount(price integer) RETURNS numeric STABLE LANGUAGE sql AS 'SELECT price * 0.9';
CREATE FUNCTION sales.both(n integer, OUT twice integer, OUT words text) LANGUAGE sql AS 'SELECT n * 2, n::text';
CREATE FUNCTION sales.some(VARIADIC list integer[]) RETURNS TABLE (v integer) LANGUAGE sql AS 'SELECT unnest(list)';
CREATE FUNCTION sales.state_of(o sales.orders) RETURNS sales.state SECURITY DEFINER LANGUAGE sql AS 'SELECT o.state';
CREATE PROCEDURE sales.tidy() LANGUAGE sql AS 'DELETE FROM sales.lines WHERE false';
COMMENT ON FUNCTION discount(integer) IS 'ten percent';
ALTER TABLE sales.lines DROP COLUMN customer;
INSERT INTO customers (name, score, exact) SELECT 'n' || n, 1, 2 FROM generate_series(1, 50) n;
ANALYZE customers;
