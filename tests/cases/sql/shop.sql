-- The shop that the cases of this folder are written against. Hidden from the agent: employees.salary, employees.notes,
-- customers.password_hash, the table secrets, the function steal.
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE DOMAIN positive AS integer CHECK (VALUE > 0);
CREATE TYPE pair AS (a integer, b text);
CREATE TABLE customers (id integer PRIMARY KEY, name text NOT NULL, email text, city text, password_hash text, mood mood, created_at timestamptz NOT NULL, tags text[], profile jsonb);
CREATE TABLE orders (id integer PRIMARY KEY, customer_id integer NOT NULL REFERENCES customers, status text NOT NULL, total numeric(12,2) NOT NULL, placed_at timestamptz NOT NULL, note text);
CREATE TABLE products (id integer PRIMARY KEY, name text NOT NULL, category text, price numeric(10,2) NOT NULL, attributes jsonb, valid daterange);
CREATE TABLE order_items (order_id integer NOT NULL REFERENCES orders, product_id integer NOT NULL REFERENCES products, quantity integer NOT NULL, unit_price numeric(10,2) NOT NULL, PRIMARY KEY (order_id, product_id));
CREATE TABLE payments (id integer PRIMARY KEY, order_id integer NOT NULL REFERENCES orders, amount numeric(12,2) NOT NULL, method text NOT NULL, paid_at date);
CREATE TABLE employees (id integer PRIMARY KEY, name text NOT NULL, salary numeric(10,2) NOT NULL, manager_id integer REFERENCES employees, department text, notes text);
CREATE TABLE secrets (id integer, token text);
CREATE TABLE "Weird Name" ("Select" integer, "a""b" text);
CREATE VIEW order_totals AS SELECT customer_id, sum(total) AS spent FROM orders GROUP BY customer_id;
CREATE FUNCTION discount(price numeric) RETURNS numeric IMMUTABLE LANGUAGE sql AS 'SELECT price * 0.9';
CREATE FUNCTION series(n integer) RETURNS TABLE (a integer, b text) STABLE LANGUAGE sql AS 'SELECT g, g::text FROM generate_series(1, n) g';
CREATE FUNCTION label(o orders) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT o.status || o.id';
CREATE FUNCTION steal() RETURNS text VOLATILE SECURITY DEFINER LANGUAGE sql AS 'SELECT token FROM secrets LIMIT 1';
CREATE FUNCTION lower(value varchar) RETURNS text VOLATILE LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''shadowed''; END';
INSERT INTO customers SELECT n, 'Customer ' || n, CASE WHEN n % 7 <> 0 THEN 'c' || n || '@example.org' END, (ARRAY['Oslo','Bergen','Tromsø'])[1 + n % 3], md5(n::text), (ARRAY['sad','ok','happy'])[1 + n % 3]::mood, timestamptz '2026-01-01 10:00+00' + n * interval '13 hours', ARRAY['t' || n % 4, 'x'], jsonb_build_object('age', 20 + n % 50, 'langs', jsonb_build_array('no', 'en')) FROM generate_series(1, 60) n;
INSERT INTO orders SELECT n, 1 + n % 55, (ARRAY['new','paid','sent','returned'])[1 + n % 4], (n * 37 % 1000)::numeric / 4, timestamptz '2026-03-01 08:00+00' + n * interval '5 hours', CASE WHEN n % 3 = 0 THEN 'gift ' || n END FROM generate_series(1, 300) n;
INSERT INTO products SELECT n, 'Product ' || n, (ARRAY['toys','books','tools'])[1 + n % 3], n * 1.25, jsonb_build_object('color', (ARRAY['red','blue'])[1 + n % 2], 'size', n), daterange(date '2026-01-01' + n, date '2026-06-01' + n) FROM generate_series(1, 30) n;
INSERT INTO order_items SELECT o, 1 + (o * k) % 30, k, 1.25 * k FROM generate_series(1, 300) o, generate_series(1, 2) k ON CONFLICT DO NOTHING;
INSERT INTO payments SELECT n, n, (n * 37 % 1000)::numeric / 4, (ARRAY['card','invoice'])[1 + n % 2], date '2026-03-02' + n / 5 FROM generate_series(1, 200) n;
INSERT INTO employees SELECT n, 'Employee ' || n, 1000 * n, CASE WHEN n > 1 THEN n / 2 END, (ARRAY['sales','it'])[1 + n % 2], 'canary-note' FROM generate_series(1, 15) n;
INSERT INTO secrets VALUES (1, 'canary-token');
INSERT INTO "Weird Name" VALUES (1, 'x');
