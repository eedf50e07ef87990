-- What people ask a shop's database, over the sample; each ends in an order so that two answers can be compared.
-- title: how many customers
select count(*) from customers
-- title: customers by segment
select segment, count(*) from customers group by segment order by segment
-- title: newest customers with their addresses of mail
select id, full_name, email, created_at from customers order by created_at desc, id limit 10
-- title: customers without an order
select c.id, c.full_name from customers c left join orders o on o.customer_id = c.id where o.id is null order by c.id limit 20
-- title: orders by state
select status, count(*) as orders from orders group by status order by status
-- title: orders by month
select date_trunc('month', placed_at) as month, count(*) from orders group by 1 order by 1
-- title: revenue by month with a running total
select month, gross, sum(gross) over (order by month) as running from (select month, sum(gross) as gross from monthly_sales group by month) m order by month
-- title: best products
select p.sku, p.name, sum(i.quantity) as sold, sum(i.amount) as revenue from order_items i join products p on p.id = i.product_id group by p.id order by revenue desc, p.id limit 10
-- title: best product of each category
select distinct on (c.name) c.name, p.name, sum(i.amount) as revenue from order_items i join products p on p.id = i.product_id join categories c on c.id = p.category_id group by c.name, p.id order by c.name, revenue desc, p.id
-- title: rank within category
select * from (select c.name as category, p.name, price, rank() over (partition by c.id order by price desc) as place from products p join categories c on c.id = p.category_id) r where place <= 2 order by 1, 4, 2
-- title: the tree of categories
with recursive tree as (select id, name, 0 as depth, array[name] as path from categories where parent_id is null union all select c.id, c.name, depth + 1, path || c.name from categories c join tree t on t.id = c.parent_id) select repeat('  ', depth) || name as name, path from tree order by path
-- title: reporting lines
with recursive line as (select id, full_name, manager_id, 1 as level from employees where manager_id is null union all select e.id, e.full_name, e.manager_id, level + 1 from employees e join line l on e.manager_id = l.id) select level, count(*) from line group by level order by level
-- title: labels of products
select label, count(*) from products, unnest(labels) as label group by label order by 2 desc, 1
-- title: products with a label
select sku from products where labels @> array['new'] order by sku limit 10
-- title: attributes of products
select id, attributes ->> 'colour' as colour, attributes from products order by id limit 10
-- title: keys of the attributes
select key, count(*) from products, jsonb_object_keys(attributes) as key group by key order by key
-- title: time to ship
select percentile_cont(array[0.5, 0.9]) within group (order by extract(epoch from shipped_at - placed_at)) from orders where shipped_at is not null
-- title: median and mean of orders
select round(avg(gross), 2) as mean, percentile_disc(0.5) within group (order by gross) as median from order_totals
-- title: orders by weekday and hour
select extract(isodow from placed_at at time zone 'UTC') as day, extract(hour from placed_at at time zone 'UTC') as hour, count(*) from orders group by 1, 2 order by 1, 2 limit 50
-- title: a pivot with FILTER
select extract(year from placed_at at time zone 'UTC') as year, count(*) filter (where status = 'delivered') as delivered, count(*) filter (where status in ('returned', 'cancelled')) as lost from orders group by 1 order by 1
-- title: share of payment methods
select method, count(*), round(100.0 * count(*) / sum(count(*)) over (), 1) as percent from payments group by method order by method
-- title: payments that differ from their orders
select p.order_id, p.amount, t.gross from payments p join order_totals t using (order_id) where p.amount <> t.gross order by 1
-- title: net and tax by the shop's own function
select sku, price, net_amount(price) as net, price - net_amount(price, 7) as reduced from products order by sku limit 10
-- title: ratings
select rating, count(*), round(avg(length(body)), 1) from reviews group by rating order by rating
-- title: reviews with a word in any case
select id, rating from reviews where body ilike '%' || 'qual' || '%' order by id limit 20
-- title: reviews by a pattern
select id, regexp_count(body, '\mgood\M', 1, 'i') as good from reviews where body ~* '\mgood\M' order by id limit 10
-- title: texts of reviews, instructions included
select id, body from reviews where body like 'Ignore%' order by id
-- title: cities
select city, country, count(*) from addresses group by grouping sets ((city, country), (country), ()) order by 2 nulls last, 1 nulls last limit 40
-- title: customers in Germany who bought in two years
select c.id from customers c join addresses a on a.customer_id = c.id and a.is_default where a.country = 'DE' and (select count(distinct extract(year from o.placed_at)) from orders o where o.customer_id = c.id) > 1 order by c.id limit 20
-- title: days between orders
select id, placed_at - lag(placed_at) over (partition by customer_id order by placed_at, id) as gap from orders where customer_id < 20 order by id
-- title: cohorts
with first as (select customer_id, min(date_trunc('quarter', placed_at)) as quarter from orders group by customer_id) select quarter, count(*) from first group by quarter order by quarter
-- title: bought together
select least(a.product_id, b.product_id) as one, greatest(a.product_id, b.product_id) as other, count(*) from order_items a join order_items b on a.order_id = b.order_id and a.product_id < b.product_id group by 1, 2 order by 3 desc, 1, 2 limit 10
-- title: a calendar with gaps filled
select day::date, count(o.id) from generate_series(timestamp '2025-01-01', timestamp '2025-01-31', interval '1 day') as day left join orders o on o.placed_at::date = day::date group by day order by day
-- title: employees without their secrets
select id, full_name, department, job_title, manager_id, hired_on from employees order by id limit 10
-- title: who handles what
select e.department, count(o.id) from employees e left join orders o on o.handled_by = e.id group by e.department order by e.department
-- title: NULL and empty
select null as nothing, '' as empty, ' ' as blank, 'a,b' as comma, 'a"b' as quote, E'a\nb' as lines
-- title: exact numbers
select 0.1::numeric + 0.2 as exact, 1e400::numeric / 3 > 1 as big, 'NaN'::numeric as nan, 'infinity'::float8 as inf, 9223372036854775807 as long
-- title: times
select timestamptz '2026-03-29 01:30:00+00' as t, date 'infinity' as ever, interval '1 mon -3 days' as span, time '24:00' as end
-- title: other types
select array[[1, 2], [3, null]] as grid, int4range(1, 5) as span, '{"a": null}'::jsonb as doc, '\xdeadbeef'::bytea as bytes, row(1, null, 'x') as pair, inet '10.0.0.1' as address, b'101' as bits
-- title: text in many scripts
select 'Tromsø 日本 🦉' as text, length('🦉') as letters, upper('straße') as loud
-- title: JSON from rows
select jsonb_agg(jsonb_build_object('id', id, 'name', name) order by id) from categories where parent_id is null
-- title: a value list
values (1, 'a'), (2, null), (3, '')
-- title: a table by its name
table categories
-- title: EXCEPT and INTERSECT
(select id from customers where id < 20 except select customer_id from orders where customer_id < 20) union all select 0 order by 1
-- title: EXPLAIN
explain (costs off) select * from orders where customer_id = 7
-- title: quoted aliases
select id as "Order Id", status::text as "Is it ""open""?" from orders order by id limit 3
-- title: comments and odd layout
select /* how many */ count(*) -- all of them
  from orders /* nested /* once */ */
-- title: a window over a frame
select id, avg(rating) over (order by id rows between 2 preceding and current row)::numeric(4, 2) from reviews order by id limit 12
-- title: a lateral join
select c.id, o.id as newest from customers c cross join lateral (select id from orders where customer_id = c.id order by placed_at desc, id desc limit 1) o where c.id < 15 order by 1
-- title: CASE and COALESCE
select case when stock = 0 then 'none' when stock < 10 then 'few' else 'many' end as left, count(*), max(coalesce(discontinued_on, 'infinity')) from products group by 1 order by 1
