-- title: a view over a function
-- runs: spy
select id from spied
-- title: a view over a view over a function
-- runs: spy
select id from spied_again
-- title: a view with a function in a filter
-- runs: spy
select n from spied_in_a_filter
-- title: a view with a function in a window
-- runs: spy
select n from spied_in_a_window
-- title: a view counted
-- runs: spy
select count(*) from spied
-- title: a default of an argument
-- runs: spy spied_by_default
select spied_by_default()
-- title: a row security policy
-- runs: spy_secured
select count(*) from secured
-- title: a row security policy below a view
-- runs: spy_secured
select a from secured_below
-- title: a domain's check
-- runs: spy_check
select 'x'::checked
-- title: a domain's check in an array
-- runs: spy_check
select '{x,y}'::checked[]
-- title: a domain's check in a row type
-- runs: spy_check mood_number season_number
select row('x', 1)::holder
-- title: a domain's check in a table made of JSON
-- since: 17
-- runs: spy_check
select x from json_table('["a"]', '$[*]' columns (x checked path '$')) t
-- title: a domain's check in a record made of JSON
-- runs: spy_check mood_number season_number
select h.word from jsonb_populate_record(null::holder, '{"word": "a"}') h
-- title: a domain's check as a function's argument
-- runs: spy_check takes_checked
select takes_checked('x')
-- title: an explicit cast to a built-in type
-- runs: mood_number
select m::integer from moods
-- title: an explicit cast spelled out, of an array
-- runs: mood_number season_number
select cast(ms as integer[]) from moods
-- title: an explicit cast of a column behind two subselects
-- runs: mood_number
with a as (select m as x from moods) select y::integer from (select x as y from a) b
-- title: an explicit cast of a column of a set operation
-- runs: mood_number
select x::integer from (select m from moods union all select 'ok'::mood) a(x)
-- title: a cast that to_json looks for
-- runs: tint_json
select to_json(t) from tints
-- title: a cast that row_to_json looks for
-- runs: tint_json
select row_to_json(x) from tints x
-- title: an implicit cast
-- runs: season_number
select abs(s) from moods
-- title: an implicit cast to an operator's type
-- runs: season_number
select id from orders, moods where id = s
-- title: ORDER BY of a type with its own order
-- runs: point3_order point3_less point3_same
select p from places order by p
-- title: DISTINCT of a type with its own order
-- runs: point3_order point3_less point3_same
select distinct p from places
-- title: GROUP BY of a type with its own order
-- runs: point3_order point3_less point3_same
select p, count(*) from places group by p
-- title: a set operation over a type with its own order
-- runs: point3_order point3_less point3_same
select p from places intersect select q from places
-- title: a window over a type with its own order
-- runs: point3_order point3_less point3_same
select count(*) over (partition by p) from places
-- title: max of a row made on the spot
-- runs: point3_order point3_less point3_same mood_number season_number
select x from (values (row(1, 2, 3)::point3), (row(2, 3, 4)::point3)) v(x) order by x
-- title: an order below a view
-- runs: point3_order point3_less point3_same
select count(*) from places_below
-- title: ORDER BY USING
-- runs: point3_order point3_less point3_same
select p from places order by p using <#
-- title: a rank within a group
-- runs: point3_order point3_less point3_same
select percentile_disc(0.5) within group (order by p) from places
-- title: an aggregate's own order
-- runs: point3_order point3_less point3_same
select array_agg(p order by p) from places
-- title: an operator of a common name
-- runs: spy_equal
select m from moods where m = 'x'::text
-- title: an operator of a common name under ANY
-- runs: spy_equal
select m from moods where m = any (array['x'::text])
-- title: an operator of a common name under IN
-- runs: spy_equal
select m from moods where m in ('x'::text, 'y'::text)
-- title: an operator of a common name under NOT IN
-- runs: spy_equal spy_pair
select m from moods where m not in (select name from orders)
-- title: an operator between rows
-- runs: point3_order point3_less point3_same
select 1 from places where (p, q) <# (q, p)
-- title: an operator of a common name in CASE
-- runs: spy_equal
select case m when 'x'::text then 1 end from moods
-- title: an operator of a common name in IS DISTINCT FROM
-- runs: spy_equal
select m is distinct from 'x'::text from moods
-- title: an operator of a common name in NULLIF
-- runs: spy_equal
select nullif(m, 'x'::text) from moods
-- title: an operator of a common name in USING
-- runs: spy_pair
select count(*) from (select m as k from moods) a join moods b on true join (select m as k from moods) c using (k)
-- title: an operator of a common name in a NATURAL join
-- runs: spy_pair
select count(*) from (select m as k from moods) a natural join (select m as k from moods) b
-- title: an operator of a common name behind subselects
-- runs: spy_equal spy_pair
with a(x) as (select m from moods) select x from a where x = (select min(name) from orders)
-- title: an operator of a common name in the arm of a recursive query
-- runs: spy_equal
with recursive a(x) as (select m from moods union select x from a where x <> 'ok'::text) select x from a
-- title: an operator over built-in types
-- runs: spy_join
select id || at from orders
-- title: an operator over built-in types, behind an expression
-- runs: spy_join
select (id + 1) || at from orders
-- title: an operator over built-in types, behind a cast
-- runs: spy_join
select '1'::integer || now()
-- title: an operator over built-in types, behind VALUES
-- runs: spy_join
select a || b from (values (1, now())) v(a, b)
-- title: an operator over built-in types, behind CASE
-- runs: spy_join
select case when true then 1 else 2 end || coalesce(at, now()) from orders
-- title: an operator over built-in types, with a smaller one
-- runs: spy_join
select 1::smallint || '2026-01-01'::date
-- title: an aggregate
-- runs: summed
select summed(id) from orders
-- title: a moving aggregate
-- runs: summed
select summed(id) over (order by id rows between 1 preceding and current row) from orders
-- title: an aggregate of volatile steps
-- runs: noted
select noted(name) from orders
-- title: a cast by a function's name
-- runs: mood_bool
select mood_bool(m) from moods
-- title: a function as an attribute of a column
-- runs: mood_bool
select (m).mood_bool from moods
-- title: a function as an attribute of a cast
-- runs: mood_bool
select ('ok'::mood).mood_bool
-- title: a type as an attribute
-- runs: spy_check
select ('x'::text).checked
-- title: a view of whole rows
-- runs: tint_json
select r from tints_below
