-- title: a plain view
select id, name from plain
-- title: a view that reads settings and the catalog
select * from settings_of_the_house
-- title: a materialised view is not run again
select id from spied_once
-- title: comparisons of built-in types
select id from orders where name = 'n1' and id = 1 and total <> 2 and at < now() and name || 'x' = lower(name)
-- title: comparisons with a parameter
select id from orders where name = $1 and id + 1 < $2
-- title: comparisons of a subselect's columns
with a as (select o.name as n, count(*) as c from orders o group by 1) select * from a where n = 'n1' and c < 5 and n in ('a', 'b')
-- title: comparisons of a set operation's columns
select x from (select name from orders union all select upper(name) from orders) a(x) where x <> 'n1'
-- title: comparisons of VALUES
select a from (values (1, 'x'), (2, 'y')) v(a, b) where a = 1 and b <> 'x'
-- title: joins
select a.id from orders a join orders b using (id) natural join (select id from orders) c where a.name <> b.name
-- title: rows, lists and CASE
select case name when 'a' then 1 end, (id, name) = (1, 'n1'), id = any (array[1, 2]), name is distinct from 'x', nullif(name, '') from orders
-- title: concatenations
select id || name, name || id, tags || 'c'::text, data || '{}'::jsonb, 'a' || id from orders
-- title: a comparison within a subselect
select id from orders where name in (select name from plain) and id < (select max(id) from plain)
-- title: a cast that others may make of their own
select total::integer, id::text::integer, '1'::integer, (data ->> 'a')::integer, count(*)::integer from orders group by id
-- title: a type's own value
select m, ms from moods where m < 'bad'::mood and m is not null
-- title: a recursive query
with recursive a(n, t) as (select 1, 'x'::text union all select n + 1, t || 'y' from a where n < 5) select * from a where t <> 'z'
-- title: a view that counts rows
select n from tints_counted
