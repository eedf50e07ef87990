-- title: with big as (select * from orders where total > 100) select
with big as (select * from orders where total > 100) select count(*) from big
-- title: with a as (select 1 as x), b as (select x + 1 as y from a) s
with a as (select 1 as x), b as (select x + 1 as y from a) select a.x, b.y from a, b
-- title: with a(n) as materialized (select id from orders) select max
with a(n) as materialized (select id from orders) select max(n) from a
-- title: with recursive t(n) as (select 1 union all select n + 1 from
with recursive t(n) as (select 1 union all select n + 1 from t where n < 10) select sum(n) from t
-- title: with recursive boss as (select id, name, 1 as depth from emp
with recursive boss as (select id, name, 1 as depth from employees where manager_id is null union all select e.id, e.name, depth + 1 from employees e join boss b on e.manager_id = b.id) select * from boss order by depth, id
-- title: with recursive t as (select id, manager_id from employees wh
with recursive t as (select id, manager_id from employees where id = 9 union select e.id, e.manager_id from employees e, t where e.id = t.manager_id) select id from t order by id
-- title: with recursive t(id, m) as (select id, manager_id from emplo
with recursive t(id, m) as (select id, manager_id from employees where id = 1 union all select e.id, e.manager_id from employees e join t on e.manager_id = t.id) search depth first by id set path select id from t order by path
-- title: with recursive t(id, m) as (select id, manager_id from emplo
with recursive t(id, m) as (select id, manager_id from employees union all select e.id, e.manager_id from employees e join t on e.id = t.m) cycle id set looped using trail select count(*), bool_or(looped) from t
-- title: with orders as (select 7 as id) select id from orders
with orders as (select 7 as id) select id from orders
-- title: with x as (values (1), (2)) select sum(column1) from x
with x as (values (1), (2)) select sum(column1) from x
-- title: with recursive b as (select n from a), a as (select 5 as n)
with recursive b as (select n from a), a as (select 5 as n) select * from b
-- title: select * from (with y as (select 2 as z) select z from y) q
select * from (with y as (select 2 as z) select z from y) q
-- title: select 1 union select 2 union all select 2 order by 1
select 1 union select 2 union all select 2 order by 1
-- title: (select id from orders order by id limit 2) union all (selec
(select id from orders order by id limit 2) union all (select id from products order by id limit 2) order by id
-- title: select id from orders intersect select id from products exce
select id from orders intersect select id from products except select 3 order by id
-- title: select status as s from orders union select method from paym
select status as s from orders union select method from payments order by s
-- title: with t as (select status, count(*) as n from orders group by
with t as (select status, count(*) as n from orders group by status) select status, n, round(100.0 * n / sum(n) over (), 2) as pct from t order by status
-- title: select 1 as a union select 2 order by a desc limit 1
select 1 as a union select 2 order by a desc limit 1
