-- What shop.cedar says, as a careful owner would write it: views in the tables' places.
CREATE SCHEMA kept;
ALTER TABLE customers SET SCHEMA kept;
ALTER TABLE orders SET SCHEMA kept;
ALTER TABLE payments SET SCHEMA kept;
ALTER TABLE employees SET SCHEMA kept;
ALTER TABLE products SET SCHEMA kept;
ALTER TABLE order_items SET SCHEMA kept;
CREATE VIEW customers WITH (security_barrier) AS SELECT id, name,
    CASE WHEN email IS NOT NULL THEN left(email, 1) || '***@' || split_part(email, '@', 2) END AS email, city,
    translate(password_hash, 'abcdefABCDEF012345678', 'xxxxxxxxxxxx999999999') AS password_hash, mood,
    date_trunc('month', created_at AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' AS created_at, tags, profile FROM kept.customers;
CREATE VIEW orders WITH (security_barrier) AS SELECT id, customer_id, status, total, placed_at, '***' AS note
FROM kept.orders WHERE status <> 'returned' AND id < 250;
CREATE VIEW payments WITH (security_barrier) AS SELECT id, order_id, div(amount, 100) * 100 AS amount, method,
    make_date(extract(year FROM paid_at)::integer, 1, 1) AS paid_at FROM kept.payments;
CREATE VIEW employees WITH (security_barrier) AS SELECT id, '***' || right(name, 2) AS name, div(salary, 4000) * 4000 AS salary,
    manager_id, department FROM kept.employees WHERE manager_id IS NULL OR manager_id < 6;
CREATE VIEW products WITH (security_barrier) AS SELECT id, name, category, price, NULL::jsonb AS attributes, valid
FROM kept.products WHERE category ~ '^.*o.*s$' AND id <> 7;
CREATE VIEW order_items WITH (security_barrier) AS SELECT order_id, product_id, 7 AS quantity, unit_price FROM kept.order_items;
