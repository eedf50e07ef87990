-- title: select c.name, o.total from customers c join orders o on o.c
select c.name, o.total from customers c join orders o on o.customer_id = c.id order by o.id limit 5
-- title: select c.name, count(o.id) from customers c left join orders
select c.name, count(o.id) from customers c left join orders o on o.customer_id = c.id group by c.id, c.name order by c.id
-- title: select c.id, c.name, c.city, sum(o.total) from customers c j
select c.id, c.name, c.city, sum(o.total) from customers c join orders o on o.customer_id = c.id group by c.id order by c.id
-- title: select o.id, p.amount from orders o full join payments p on
select o.id, p.amount from orders o full join payments p on p.order_id = o.id order by o.id, p.id limit 5
-- title: select o.id, p.amount from payments p right outer join order
select o.id, p.amount from payments p right outer join orders o on p.order_id = o.id order by o.id desc limit 5
-- title: select count(*) from products cross join employees
select count(*) from products cross join employees
-- title: select count(*) from products, employees
select count(*) from products, employees
-- title: select order_id, sum(quantity), count(amount) from order_ite
select order_id, sum(quantity), count(amount) from order_items join payments using (order_id) group by order_id order by order_id limit 5
-- title: select * from order_items join payments using (order_id) ord
select * from order_items join payments using (order_id) order by order_id, product_id, id limit 5
-- title: select x.order_id from order_items join payments using (orde
select x.order_id from order_items join payments using (order_id) as x order by 1 limit 3
-- title: select * from (order_items i join payments p using (order_id
select * from (order_items i join payments p using (order_id)) order by 1, 2, 5 limit 3
-- title: select j.* from (orders o join customers c on c.id = o.custo
select j.* from (orders o join customers c on c.id = o.customer_id) as j(a, b) where j.a < 3 order by j.a
-- title: select e.name, m.name as manager from employees e left join
select e.name, m.name as manager from employees e left join employees m on m.id = e.manager_id order by e.id
-- title: select count(*) from order_items natural join (select 1 as o
select count(*) from order_items natural join (select 1 as order_id) x
-- title: select c.name, x.total from customers c cross join lateral (
select c.name, x.total from customers c cross join lateral (select total from orders o where o.customer_id = c.id order by total desc, id limit 1) x order by c.id limit 5
-- title: select c.id, x.n from customers c left join lateral (select
select c.id, x.n from customers c left join lateral (select count(*) as n from orders where customer_id = c.id) x on true order by c.id limit 5
-- title: select c.name, o.id, i.quantity, p.name, y.amount from custo
select c.name, o.id, i.quantity, p.name, y.amount from customers c join orders o on o.customer_id = c.id join order_items i on i.order_id = o.id join products p on p.id = i.product_id left join payments y on y.order_id = o.id order by o.id, p.id limit 10
-- title: select a.id from orders a join (orders b join orders c on b.
select a.id from orders a join (orders b join orders c on b.id = c.id) on a.id = b.id order by 1 limit 3
-- title: select id from customers where exists (select 1 from orders
select id from customers where exists (select 1 from orders where customer_id = customers.id and total > 200) order by id
-- title: select id from customers where id in (select customer_id fro
select id from customers where id in (select customer_id from orders where status = 'new') order by id
-- title: select id from customers c where not exists (select from ord
select id from customers c where not exists (select from orders o where o.customer_id = c.id) order by id
-- title: select id from customers where id not in (select customer_id
select id from customers where id not in (select customer_id from orders) order by id
-- title: select name, (select count(*) from orders o where o.customer
select name, (select count(*) from orders o where o.customer_id = c.id) from customers c order by id limit 5
-- title: select name, (select max(total) from orders where customer_i
select name, (select max(total) from orders where customer_id = c.id) as best from customers c order by best desc nulls last, id limit 5
-- title: select array(select id from products order by id limit 3)
select array(select id from products order by id limit 3)
-- title: select id from orders where total > all (select price from p
select id from orders where total > all (select price from products) order by id
-- title: select id from orders where total = any (select amount from
select id from orders where total = any (select amount from payments) order by id limit 3
-- title: select t.* from (select id, count(*) over () from orders) t
select t.* from (select id, count(*) over () from orders) t order by id limit 3
-- title: select count from (select count(*) from orders) t
select count from (select count(*) from orders) t
-- title: select x.a, x.b from (values (1, 'one'), (2, 'two')) as x(a,
select x.a, x.b from (values (1, 'one'), (2, 'two')) as x(a, b) order by a
-- title: select v.column1 from (values (3), (1)) v order by 1
select v.column1 from (values (3), (1)) v order by 1
-- title: select o.id, s.spent from orders o join order_totals s using
select o.id, s.spent from orders o join order_totals s using (customer_id) order by o.id limit 3
-- title: select * from order_totals order by customer_id limit 3
select * from order_totals order by customer_id limit 3
-- title: select id from orders tablesample bernoulli (100) order by i
select id from orders tablesample bernoulli (100) order by id limit 3
-- title: select e.* from employees e tablesample system (100) repeata
select e.* from employees e tablesample system (100) repeatable (1) order by id limit 3
-- title: select * from only orders order by id limit 2
select * from only orders order by id limit 2
-- title: select * from orders o(a, b) where o.a = 1 and o.b > 0
select * from orders o(a, b) where o.a = 1 and o.b > 0
-- title: a column list over a join counts what is seen
select j.* from (employees e join products p on e.id = p.id) as j(a, b, c, d, e) order by j.a limit 3
-- title: a column list over a table counts what is seen
select d from employees as e(a, b, c, d) order by d, a limit 3
-- title: natural join on what is seen
select count(*) from employees natural join (select 'x' as notes, id from products) p
-- title: pg_typeof in FROM
select * from pg_typeof(1)

-- title: natural join over columns only the server knows
select id, order_id, k from payments natural join lateral (select s.* from series(3) as s) as f (id, k) order by id

-- title: natural join over a function of any type
select id, amount from payments natural join unnest(array[3, 5, 900]) as f (id) order by id

-- title: a field of an aggregate of rows
select (array_agg(o order by o.id desc))[1].status, (array_agg(o order by o.id))[2].id from orders o

-- title: a field of a row from a subquery
select p.id, ((select o from orders o where o.id = p.order_id)).total from payments p order by p.id limit 3

-- title: every field of a row from a subquery
select p.id, ((select o from orders o where o.id = p.order_id)).* from payments p order by p.id limit 3
