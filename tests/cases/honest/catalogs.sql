-- What is asked of the catalogs themselves; tests/cases/catalogs has many more.
-- title: tables of the shop
select table_name, table_type from information_schema.tables where table_schema = 'public' order by table_name
-- title: columns of orders
select column_name, data_type, is_nullable from information_schema.columns where table_schema = 'public' and table_name = 'orders' order by ordinal_position
-- title: columns of orders as a terminal asks
select a.attname, format_type(a.atttypid, a.atttypmod) as type, a.attnotnull from pg_attribute a where a.attrelid = 'orders'::regclass and a.attnum > 0 and not a.attisdropped order by a.attnum
-- title: foreign keys as text
select conrelid::regclass::text as from_table, conname, pg_get_constraintdef(oid) from pg_constraint where contype = 'f' and connamespace = 'public'::regnamespace order by 1, 2
-- title: indexes of orders
select indexname, indexdef from pg_indexes where schemaname = 'public' and tablename = 'orders' order by 1
-- title: states of an order
select enumlabel from pg_enum where enumtypid = 'order_status'::regtype order by enumsortorder
-- title: comments of tables
select c.relname, obj_description(c.oid) from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = 'public' and c.relkind = 'r' order by 1
-- title: how many rows there may be
select relname, reltuples::int8 from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace order by 1
-- title: a catalog counted beside a table
select (select count(*) from orders) as orders, count(*) as tables from information_schema.tables where table_schema = 'public'
-- title: the plan of a catalog's query
select relname from pg_class where relname = 'orders'
