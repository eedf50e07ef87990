-- title: select percentile_cont(0.5) within group (order by total) fr
select percentile_cont(0.5) within group (order by total) from orders
-- title: select percentile_disc(array[0.25, 0.75]) within group (orde
select percentile_disc(array[0.25, 0.75]) within group (order by total), mode() within group (order by status) from orders
-- title: select status, string_agg(id::text, ',' order by id desc) fi
select status, string_agg(id::text, ',' order by id desc) filter (where id < 20) from orders group by status order by status
-- title: select array_agg(distinct status order by status), bool_and(
select array_agg(distinct status order by status), bool_and(total > 0), every(id > 0) from orders
-- title: select stddev(total), variance(total), corr(id, total), regr
select stddev(total), variance(total), corr(id, total), regr_slope(id, total) from orders
-- title: select status, date_trunc('month', placed_at) as month, sum(
select status, date_trunc('month', placed_at) as month, sum(total) from orders group by rollup (status, month) order by 1 nulls last, 2 nulls last
-- title: select status, customer_id % 2 as odd, count(*), grouping(st
select status, customer_id % 2 as odd, count(*), grouping(status) from orders group by cube (status, customer_id % 2) order by 1, 2, 3
-- title: select status, customer_id, count(*) from orders where custo
select status, customer_id, count(*) from orders where customer_id < 4 group by grouping sets ((status), (customer_id), ()) order by 1, 2
-- title: select id, row_number() over (order by total desc, id), rank
select id, row_number() over (order by total desc, id), rank() over (order by total), dense_rank() over w, ntile(4) over w from orders window w as (partition by status order by total, id) order by id limit 6
-- title: select id, lag(total) over (order by id), lead(total, 2, 0)
select id, lag(total) over (order by id), lead(total, 2, 0) over (order by id), first_value(id) over (order by id rows between 2 preceding and current row) from orders order by id limit 5
-- title: select id, sum(total) over (partition by customer_id order b
select id, sum(total) over (partition by customer_id order by placed_at range between interval '7 days' preceding and current row) from orders order by id limit 5
-- title: select id, avg(total) over (order by id rows between unbound
select id, avg(total) over (order by id rows between unbounded preceding and 1 following exclude current row) from orders order by id limit 5
-- title: select sum(total) filter (where status = 'paid') * 1.0 / sum
select sum(total) filter (where status = 'paid') * 1.0 / sum(total) as share from orders
-- title: select jsonb_agg(jsonb_build_object('id', id, 'total', total
select jsonb_agg(jsonb_build_object('id', id, 'total', total) order by id) from orders where id < 4
-- title: select json_object_agg(id, name order by id) from products w
select json_object_agg(id, name order by id) from products where id < 4
-- title: select width_bucket(total, 0, 250, 5) as b, count(*) from or
select width_bucket(total, 0, 250, 5) as b, count(*) from orders group by b order by b
-- title: select range_agg(valid order by id) from products
select range_agg(valid order by id) from products
-- title: select percent_rank(10) within group (order by total), cume_
select percent_rank(10) within group (order by total), cume_dist() over () from orders group by id order by 1 limit 1
-- title: select count(distinct (status, customer_id)) from orders
select count(distinct (status, customer_id)) from orders
-- title: select count(o) from orders o
select count(o) from orders o
-- title: select max(placed_at) - min(placed_at) from orders
select max(placed_at) - min(placed_at) from orders
-- title: select string_agg(name, ', ') from (select name from product
select string_agg(name, ', ') from (select name from products order by id limit 3) x
-- title: select sum(sum(total)) over (order by status) from orders gr
select sum(sum(total)) over (order by status) from orders group by status order by status
