-- What the views of views.toml are made over.
CREATE DOMAIN pin AS varchar(4) CHECK (VALUE ~ '^[0-9]{4}$');
CREATE TABLE people (id integer PRIMARY KEY, email text, region text, pin pin, pay numeric(6,2), salary integer);
INSERT INTO people VALUES (1, 'ann@north.example', 'north', '1111', 999.99, 70001), (2, 'bob@south.example', 'south', '2222', 20, 70002);
CREATE TABLE docs (id integer PRIMARY KEY, owner integer, region text, body text);
INSERT INTO docs VALUES (1, 1, 'south', 'S1'), (2, 1, 'north', 'N2'), (3, 2, 'south', 'S3'), (4, 2, 'north', 'N4'), (5, 2, 'north', 'N2');
CREATE TABLE events (day date NOT NULL, region text) PARTITION BY RANGE (day);
CREATE TABLE events_2026 PARTITION OF events FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
INSERT INTO events VALUES ('2026-01-02', 'north'), ('2026-01-03', 'south');
CREATE TABLE free (id integer, note text);
INSERT INTO free VALUES (1, 'plain');
CREATE TABLE tokens (code text PRIMARY KEY, label text);
INSERT INTO tokens VALUES ('first', 'a'), ('second', 'b');
CREATE TABLE shut (id integer);
CREATE SEQUENCE counter;
CREATE FUNCTION all_bodies() RETURNS SETOF text STABLE LANGUAGE sql AS 'SELECT body FROM docs';
CREATE FUNCTION doubled(n integer) RETURNS integer IMMUTABLE LANGUAGE sql AS 'SELECT 2 * n';
