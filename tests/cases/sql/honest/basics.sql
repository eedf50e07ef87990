-- title: select 1
select 1
-- title: select 1 as one, 'a' as "Mixed Case", null, true, 1.50, -2,
select 1 as one, 'a' as "Mixed Case", null, true, 1.50, -2, 1e3
-- title: select * from orders order by id limit 5
select * from orders order by id limit 5
-- title: select o.* from orders o order by 1 limit 5
select o.* from orders o order by 1 limit 5
-- title: table products
table products
-- title: values (1, 'a'), (2, 'b') order by column1 desc
values (1, 'a'), (2, 'b') order by column1 desc
-- title: select id, total from orders where total between 10 and 20 o
select id, total from orders where total between 10 and 20 order by total, id
-- title: select id from orders where total between symmetric 20 and 1
select id from orders where total between symmetric 20 and 10 order by id
-- title: select distinct status from orders order by status
select distinct status from orders order by status
-- title: select distinct on (customer_id) customer_id, id from orders
select distinct on (customer_id) customer_id, id from orders order by customer_id, placed_at desc
-- title: select id from orders where note is null and not status in (
select id from orders where note is null and not status in ('new', 'paid') order by id
-- title: select id from customers where name ilike '%' || '1' || '%'
select id from customers where name ilike '%' || '1' || '%' order by id
-- title: select id from customers where name like 'Customer 1_' escap
select id from customers where name like 'Customer 1_' escape '!' order by id
-- title: select id from customers where name not ilike all (array['%1
select id from customers where name not ilike all (array['%1%', '%2%']) order by id
-- title: select id from customers where name similar to '%(1|2)' orde
select id from customers where name similar to '%(1|2)' order by id
-- title: select id from customers where name ~ '^Customer [0-9]$' ord
select id from customers where name ~ '^Customer [0-9]$' order by id
-- title: select id from customers where email is distinct from 'c1@ex
select id from customers where email is distinct from 'c1@example.org' order by id
-- title: select id from orders order by total desc nulls last, id asc
select id from orders order by total desc nulls last, id asc offset 3 limit 4
-- title: select id from orders order by id fetch first 3 rows only
select id from orders order by id fetch first 3 rows only
-- title: select id, total from orders order by total desc fetch first
select id, total from orders order by total desc fetch first 3 rows with ties
-- title: select count(*) from orders
select count(*) from orders
-- title: select count(*), count(note), count(distinct status), sum(to
select count(*), count(note), count(distinct status), sum(total), avg(total), min(total), max(total) from orders
-- title: select status, count(*) as n from orders group by status hav
select status, count(*) as n from orders group by status having count(*) > 10 order by n desc, status
-- title: select upper(status) as s, count(*) from orders group by s o
select upper(status) as s, count(*) from orders group by s order by s
-- title: select status, sum(total) from orders group by 1 order by 2
select status, sum(total) from orders group by 1 order by 2 desc
-- title: select case status when 'new' then 1 when 'paid' then 2 else
select case status when 'new' then 1 when 'paid' then 2 else 3 end as rank, case when total > 100 then 'big' end from orders order by id limit 4
-- title: select coalesce(email, 'none'), nullif(city, 'Oslo'), greate
select coalesce(email, 'none'), nullif(city, 'Oslo'), greatest(1, 2, 3), least(id, 5) from customers order by id
-- title: select lower('ABC'), upper('x'), initcap('ab cd'), length('a
select lower('ABC'), upper('x'), initcap('ab cd'), length('abc')
-- title: select 'it''s', E'tab\there', 'back\slash', U&'\0061', $$dol
select 'it''s', E'tab\there', 'back\slash', U&'\0061', $$dollar$$
-- title: select "Select", "a""b" from "Weird Name"
select "Select", "a""b" from "Weird Name"
-- title: select w."Select" from "Weird Name" w
select w."Select" from "Weird Name" w
-- title: select public.orders.id from public.orders where orders.id =
select public.orders.id from public.orders where orders.id = 1
-- title: select id as "order", total as "user" from orders where id =
select id as "order", total as "user" from orders where id = 1
-- title: select not true, true and false or true, (1 + 2) * 3 - 4 / 2
select not true, true and false or true, (1 + 2) * 3 - 4 / 2 % 2, 2 ^ 3 ^ 2, - 5 + 3, @ -5, |/ 16, 5 & 3 | 8
-- title: select 1 - (2 - 3), 8 / (4 / 2), (1, 2) < (1, 3), row(1, 'a'
select 1 - (2 - 3), 8 / (4 / 2), (1, 2) < (1, 3), row(1, 'a') = row(1, 'a'), -(2 ^ 2), (-2) ^ 2, not (1 = 2) is null
-- title: select 10 + case when true then 1 else 2 end
select 10 + case when true then 1 else 2 end
-- title: select (total - (total - 1)) * 2 from orders where id = 1
select (total - (total - 1)) * 2 from orders where id = 1
-- title: select 1 = 1 is true, (null is null) = true, 3 > any (array[
select 1 = 1 is true, (null is null) = true, 3 > any (array[1, 2]), 3 <> all (array[1, 2])
-- title: select id from orders where (status, customer_id) in (('new'
select id from orders where (status, customer_id) in (('new', 2), ('paid', 3)) order by id
-- title: select id from orders where placed_at >= '2026-03-10' and pl
select id from orders where placed_at >= '2026-03-10' and placed_at < timestamptz '2026-03-20 00:00+00' order by id
-- title: select id, ctid is not null from orders order by id limit 2
select id, ctid is not null from orders order by id limit 2
-- title: select all status from orders order by id limit 1
select all status from orders order by id limit 1
-- title: select id from orders for_update order by id limit 1
select id from orders for_update order by id limit 1
-- title: select 1 /* and another */ + 1
select 1 /* and another */ + 1

-- title: a cast subquery is named after its column
select (select total * 2 from orders where id = 1)::text, (select id from orders where id = 1)::text, (select 1::int8)::text

-- title: a subquery with a star is named after the first column
select (select * from (select name from customers where id = 2) as c), (select c.* from (select name from customers where id = 3) as c)::varchar

-- title: a sampling method named with its schema
select count(*) from orders tablesample pg_catalog.bernoulli (100) repeatable (3)

-- title: a left side of BETWEEN that binds less than BETWEEN
select id from orders where (id = 1) between false and (total > 1) and (status like 'p%') not between symmetric true and true order by id

-- title: BETWEEN within BETWEEN
select ((id between 1 and 2) between false and true) between true and (id between 2 and 9) as within from orders order by id
