-- title: select extract(year from placed_at), date_part('dow', placed
select extract(year from placed_at), date_part('dow', placed_at) from orders order by id limit 2
-- title: select date_trunc('week', placed_at at time zone 'UTC'), to_
select date_trunc('week', placed_at at time zone 'UTC'), to_char(placed_at, 'YYYY-MM') from orders order by id limit 2
-- title: select placed_at at time zone 'Europe/Oslo' from orders orde
select placed_at at time zone 'Europe/Oslo' from orders order by id limit 2
-- title: select age(timestamp '2026-05-01', timestamp '2026-03-01'),
select age(timestamp '2026-05-01', timestamp '2026-03-01'), make_date(2026, 5, 1), date '2026-05-01' + 3, interval '1 day' * 2
-- title: select interval '1' year, interval '1 2:03' day to minute, '
select interval '1' year, interval '1 2:03' day to minute, '1 day'::interval
-- title: select trim(both 'x' from 'xax'), ltrim('  a'), rtrim('a  ')
select trim(both 'x' from 'xax'), ltrim('  a'), rtrim('a  '), substring('abcdef' from 2 for 3), substring('abc' from 'b.'), overlay('abcd' placing 'XX' from 2 for 2), position('c' in 'abc')
-- title: select regexp_replace(name, '[0-9]+', '#', 'g'), regexp_matc
select regexp_replace(name, '[0-9]+', '#', 'g'), regexp_match(name, '([0-9]+)'), split_part(name, ' ', 2), replace(name, 'Customer', 'C') from customers order by id limit 2
-- title: select m[1] from regexp_matches('a1b2', '[0-9]', 'g') as m
select m[1] from regexp_matches('a1b2', '[0-9]', 'g') as m
-- title: select concat('a', 1, null), concat_ws('-', 'a', 'b'), forma
select concat('a', 1, null), concat_ws('-', 'a', 'b'), format('%s %I %L', 'a', 'b c', 'd'), left('abc', 2), right('abc', 2), lpad('7', 3, '0'), repeat('ab', 2), reverse('abc')
-- title: select round(1.2345, 2), ceil(1.2), floor(-1.2), trunc(1.9),
select round(1.2345, 2), ceil(1.2), floor(-1.2), trunc(1.9), mod(7, 3), abs(-1), power(2, 10), sqrt(16), ln(1), log(100), pi() > 3, sign(-2), div(7, 2)
-- title: select md5('a'), encode(sha256('a'), 'hex'), encode('abc'::b
select md5('a'), encode(sha256('a'), 'hex'), encode('abc'::bytea, 'base64')
-- title: select profile ->> 'age', profile #>> '{langs,0}', profile -
select profile ->> 'age', profile #>> '{langs,0}', profile -> 'langs' -> 1, profile @> '{"age": 21}', profile ? 'age' from customers order by id limit 2
-- title: select jsonb_path_query_array(profile, '$.langs[*]'), jsonb_
select jsonb_path_query_array(profile, '$.langs[*]'), jsonb_typeof(profile), jsonb_array_length(profile -> 'langs') from customers order by id limit 2
-- title: select e.key, e.value from customers c, jsonb_each(c.profile
select e.key, e.value from customers c, jsonb_each(c.profile) e where c.id = 1 order by e.key
-- title: select c.id, l from customers c cross join lateral jsonb_arr
select c.id, l from customers c cross join lateral jsonb_array_elements_text(c.profile -> 'langs') as l where c.id < 3 order by 1, 2
-- title: select l.value, l.ordinality from customers c, jsonb_array_e
select l.value, l.ordinality from customers c, jsonb_array_elements_text(c.profile -> 'langs') with ordinality as l where c.id = 1 order by 2
-- title: select x.* from jsonb_to_record('{"a": 1, "b": "z"}') as x(a
select x.* from jsonb_to_record('{"a": 1, "b": "z"}') as x(a int, b text)
-- title: select x.a from json_to_recordset('[{"a": 1}, {"a": 2}]') as
select x.a from json_to_recordset('[{"a": 1}, {"a": 2}]') as x(a int) order by 1
-- title: select row_to_json(o) from orders o order by id limit 1
select row_to_json(o) from orders o order by id limit 1
-- title: select to_jsonb(p) - 'attributes' from products p order by i
select to_jsonb(p) - 'attributes' from products p order by id limit 1
-- title: select json_agg(c order by c.id) from customers c where c.id
select json_agg(c order by c.id) from customers c where c.id < 3
-- title: select jsonb_set(profile, '{age}', '1'), jsonb_pretty('{"a":
select jsonb_set(profile, '{age}', '1'), jsonb_pretty('{"a": 1}') from customers where id = 1
-- title: select tags[1], tags[1:1], array_length(tags, 1), 'x' = any(
select tags[1], tags[1:1], array_length(tags, 1), 'x' = any(tags), tags || 'y'::text, tags && array['x'], cardinality(tags) from customers order by id limit 2
-- title: select unnest(tags) from customers where id = 1
select unnest(tags) from customers where id = 1
-- title: select t from customers c, unnest(c.tags) as t where c.id =
select t from customers c, unnest(c.tags) as t where c.id = 1 order by t
-- title: select a, b from unnest(array[1, 2], array['x', 'y']) as u(a
select a, b from unnest(array[1, 2], array['x', 'y']) as u(a, b) order by a
-- title: select array_to_string(array_agg(id), ',') from (select id f
select array_to_string(array_agg(id), ',') from (select id from products order by id limit 3) p
-- title: select g from generate_series(1, 5) g
select g from generate_series(1, 5) g
-- title: select g.g + 1 from generate_series(1, 5, 2) as g
select g.g + 1 from generate_series(1, 5, 2) as g
-- title: select d::date from generate_series(timestamp '2026-01-01',
select d::date from generate_series(timestamp '2026-01-01', timestamp '2026-01-03', interval '1 day') d
-- title: select * from generate_series(1, 3) with ordinality as t(a,
select * from generate_series(1, 3) with ordinality as t(a, b)
-- title: select * from rows from (generate_series(1, 2), generate_ser
select * from rows from (generate_series(1, 2), generate_series(5, 7)) as r(a, b)
-- title: select id from products where valid @> date '2026-03-01' and
select id from products where valid @> date '2026-03-01' and lower(valid) > '2026-01-05' order by id
-- title: select daterange('2026-01-01', '2026-02-01') * valid, isempt
select daterange('2026-01-01', '2026-02-01') * valid, isempty(valid), upper(valid) from products order by id limit 2
-- title: select to_tsvector('english', 'the quick foxes') @@ to_tsque
select to_tsvector('english', 'the quick foxes') @@ to_tsquery('english', 'fox'), ts_rank(to_tsvector('a b'), plainto_tsquery('a')), ts_headline('english', 'a fox', 'fox'::tsquery)
-- title: select pg_typeof(1), pg_typeof(total)::text from orders wher
select pg_typeof(1), pg_typeof(total)::text from orders where id = 1
-- title: select cast('12' as integer), '3'::int2, 1::text || 'a', '20
select cast('12' as integer), '3'::int2, 1::text || 'a', '2026-01-01'::date, 'x'::varchar(10), 1::numeric(5, 2), '{1,2}'::int[], 'a'::char(3), '1'::bit(3), true::int
-- title: select 'happy'::mood, mood, mood > 'sad' from customers orde
select 'happy'::mood, mood, mood > 'sad' from customers order by id limit 3
-- title: select 5::positive, (row(1, 'x')::pair).b, (row(1, 'x')::pai
select 5::positive, (row(1, 'x')::pair).b, (row(1, 'x')::pair).*
-- title: select discount(price), public.discount(10) from products or
select discount(price), public.discount(10) from products order by id limit 2
-- title: select * from series(3)
select * from series(3)
-- title: select s.b from series(3) s where s.a > 1
select s.b from series(3) s where s.a > 1
-- title: select enum_range(null::mood), enum_first(null::mood)
select enum_range(null::mood), enum_first(null::mood)
-- title: select '10.0.0.1'::inet << '10.0.0.0/8', host('10.0.0.1/8'),
select '10.0.0.1'::inet << '10.0.0.0/8', host('10.0.0.1/8'), masklen('10.0.0.1/8')
-- title: select point(1, 2) <-> point(4, 6), box '((0,0),(1,1))' @> p
select point(1, 2) <-> point(4, 6), box '((0,0),(1,1))' @> point '(0.5,0.5)'
-- title: select (date '2026-01-01', date '2026-02-01') overlaps (date
select (date '2026-01-01', date '2026-02-01') overlaps (date '2026-01-15', date '2026-03-01')
-- title: select current_date = now()::date, current_timestamp is not
select current_date = now()::date, current_timestamp is not null, localtime is not null
-- title: select current_user is not null, version() like 'PostgreSQL%
select current_user is not null, version() like 'PostgreSQL%', current_database() is not null
-- title: select random() between 0 and 1, gen_random_uuid() is not nu
select random() between 0 and 1, gen_random_uuid() is not null, clock_timestamp() > '2020-01-01'
-- title: select 'a' < 'b' collate "C", name collate "C" from customer
select 'a' < 'b' collate "C", name collate "C" from customers order by name collate "C" limit 2
-- title: select normalize('a', NFC), 'a' is nfc normalized, chr(65),
select normalize('a', NFC), 'a' is nfc normalized, chr(65), ascii('A'), translate('abc', 'ab', 'xy'), strpos('abc', 'c'), starts_with('abc', 'a')
-- title: select xmlelement(name a, xmlattributes(id as n), name)::tex
select xmlelement(name a, xmlattributes(id as n), name)::text from products order by id limit 1
-- title: select xmlforest(id, name)::text, (xpath('/a/text()', '<a>x<
select xmlforest(id, name)::text, (xpath('/a/text()', '<a>x</a>'))[1]::text from products order by id limit 1
-- title: select x.n from xmltable('/r/i' passing xml '<r><i><n>1</n><
select x.n from xmltable('/r/i' passing xml '<r><i><n>1</n></i><i><n>2</n></i></r>' columns n int path 'n') x order by 1
-- title: select '{"a": 1}' is json, '[1]' is json array, '1' is json
select '{"a": 1}' is json, '[1]' is json array, '1' is json object
-- title: select pg_size_pretty(123456::bigint), num_nulls(1, null), j
select pg_size_pretty(123456::bigint), num_nulls(1, null), justify_hours(interval '30 hours')
-- title: select q.overlaps from (select 1 as overlaps) q
select q.overlaps from (select 1 as overlaps) q
-- title: select make_interval(days => 3), make_timestamp(2026, 1, 2,
select make_interval(days => 3), make_timestamp(2026, 1, 2, 3, 4, 5), to_timestamp(0), to_date('2026', 'YYYY'), to_number('12', '99')
-- title: select operator(pg_catalog.-) 1, 1 operator(pg_catalog.+) 2
select operator(pg_catalog.-) 1, 1 operator(pg_catalog.+) 2
-- title: select (select row(1, 2)) = row(1, 2)
select (select row(1, 2)) = row(1, 2)
-- title: select ((o)).total from orders o order by id limit 1
select ((o)).total from orders o order by id limit 1
-- title: select (o.*)::text from orders o order by id limit 1
select (o.*)::text from orders o order by id limit 1
-- title: select o from orders o order by id limit 1
select o from orders o order by id limit 1
-- title: select distinct c from customers c order by c limit 2
select distinct c from customers c order by c limit 2
-- title: select ('{"a": [1, 2]}'::jsonb)['a'][0]
select ('{"a": [1, 2]}'::jsonb)['a'][0]
-- title: explain select * from orders
explain select * from orders
-- title: explain (verbose, costs off, format json) select count(*) fr
explain (verbose, costs off, format json) select count(*) from orders
-- title: a function of the owner's over a row
select label(o), o.id from orders o order by o.id limit 2
