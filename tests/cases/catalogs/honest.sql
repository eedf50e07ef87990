-- What people, models and tools ask the catalogs; each is answered as on the bare server over schema.sql.
-- title: tables of a schema
select table_name, table_type from information_schema.tables where table_schema = 'public' order by table_name
-- title: tables outside the system
select table_schema, table_name from information_schema.tables where table_schema not in ('pg_catalog', 'information_schema') order by 1, 2
-- title: columns of a table
select column_name, data_type, is_nullable, column_default from information_schema.columns where table_schema = 'public' and table_name = 'customers' order by ordinal_position
-- title: columns with measures
select column_name, udt_name, character_maximum_length, numeric_precision, numeric_scale, datetime_precision from information_schema.columns where table_name in ('customers', 'lines', 'orders') order by table_name, ordinal_position
-- title: how many columns each table has
select c.table_schema, c.table_name, count(*) from information_schema.columns c where c.table_schema in ('public', 'sales', 'Odd Schema') group by 1, 2 order by 1, 2
-- title: columns by a piece of their name
select table_name, column_name from information_schema.columns where column_name ilike '%order%' and table_schema = 'sales' order by 1, 2
-- title: columns as one line a table
select table_name, string_agg(column_name || ' ' || data_type, ', ' order by ordinal_position) from information_schema.columns where table_schema in ('public', 'sales') group by table_name order by 1
-- title: primary keys
select tc.table_name, kc.column_name from information_schema.table_constraints tc join information_schema.key_column_usage kc on kc.constraint_name = tc.constraint_name and kc.constraint_schema = tc.constraint_schema and kc.table_name = tc.table_name where tc.constraint_type = 'PRIMARY KEY' and tc.table_schema in ('public', 'sales') order by 1, kc.ordinal_position, 2
-- title: foreign keys
select tc.table_schema, tc.table_name, kcu.column_name, ccu.table_schema as foreign_schema, ccu.table_name as foreign_table, ccu.column_name as foreign_column from information_schema.table_constraints as tc join information_schema.key_column_usage as kcu on tc.constraint_name = kcu.constraint_name and tc.table_schema = kcu.table_schema join information_schema.constraint_column_usage as ccu on ccu.constraint_name = tc.constraint_name where tc.constraint_type = 'FOREIGN KEY' order by 1, 2, 3, 4, 5, 6
-- title: rules of foreign keys
select constraint_name, unique_constraint_name, match_option, update_rule, delete_rule from information_schema.referential_constraints order by constraint_name
-- title: check clauses
select cc.constraint_name, trim(both '()' from cc.check_clause) from information_schema.check_constraints cc join information_schema.table_constraints tc using (constraint_schema, constraint_name) where tc.table_name = 'customers' and cc.constraint_name = 'Weird Check'
-- title: views
select table_schema, table_name, view_definition from information_schema.views where table_schema in ('public', 'sales') order by 1, 2
-- title: functions and their arguments
select r.routine_name, r.data_type, p.parameter_name, p.parameter_mode, p.data_type from information_schema.routines r left join information_schema.parameters p on p.specific_name = r.specific_name where r.specific_schema in ('public', 'sales') order by 1, 2, p.ordinal_position, 3, 5
-- title: schemas
select schema_name from information_schema.schemata where schema_name not like 'pg\_%' order by 1
-- title: schemas of the catalog
select nspname from pg_namespace where nspname !~ '^pg_' order by 1
-- title: relations with their kinds
select n.nspname, c.relname, case c.relkind when 'r' then 'table' when 'v' then 'view' when 'm' then 'materialized view' when 'i' then 'index' when 'S' then 'sequence' when 'p' then 'partitioned table' end as kind from pg_catalog.pg_class c left join pg_catalog.pg_namespace n on n.oid = c.relnamespace where c.relkind in ('r', 'p', 'v', 'm') and n.nspname <> 'pg_catalog' and n.nspname !~ '^pg_toast' and n.nspname <> 'information_schema' and pg_catalog.pg_table_is_visible(c.oid) order by 1, 2
-- title: columns as a terminal shows them
select a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), (select substring(pg_catalog.pg_get_expr(d.adbin, d.adrelid, true) for 128) from pg_catalog.pg_attrdef d where d.adrelid = a.attrelid and d.adnum = a.attnum and a.atthasdef), a.attnotnull, a.attidentity, a.attgenerated from pg_catalog.pg_attribute a where a.attrelid = 'customers'::regclass and a.attnum > 0 and not a.attisdropped and a.attgenerated = '' order by a.attnum
-- title: columns by the name in a parameterless cast
select attname, atttypid::regtype from pg_attribute where attrelid = 'sales.orders'::regclass and attnum > 0 order by attnum
-- title: number and name of columns after one was dropped
select attname from pg_attribute where attrelid = 'sales.lines'::regclass and attnum > 0 and not attisdropped order by attnum
-- title: constraints as text
select conname, contype, pg_get_constraintdef(oid) from pg_constraint where conrelid = 'public.customers'::regclass and contype <> 'n' order by conname
-- title: foreign keys by casts
select conrelid::regclass as source, confrelid::regclass as target, conname, pg_get_constraintdef(c.oid) as definition from pg_constraint c where c.contype = 'f' order by 1::text, 3
-- title: who refers to a table
select conrelid::regclass::text as referring, conname from pg_constraint where confrelid = 'customers'::regclass and contype = 'f' order by 1
-- title: columns of foreign keys
select c.conname, a.attname, fa.attname as target from pg_constraint c cross join lateral unnest(c.conkey, c.confkey) with ordinality as k(own, other, place) join pg_attribute a on a.attrelid = c.conrelid and a.attnum = k.own join pg_attribute fa on fa.attrelid = c.confrelid and fa.attnum = k.other where c.contype = 'f' order by 1, k.place
-- title: indexes
select tablename, indexname, indexdef from pg_indexes where schemaname in ('public', 'sales') order by 1, 2
-- title: indexes of a table with their columns
select i.relname as index_name, ix.indisunique, ix.indisprimary, array_agg(a.attname order by array_position(ix.indkey::int2[], a.attnum)) from pg_index ix join pg_class i on i.oid = ix.indexrelid join pg_class t on t.oid = ix.indrelid join pg_attribute a on a.attrelid = t.oid and a.attnum = any (ix.indkey) where t.relname = 'orders' group by 1, 2, 3 order by 1
-- title: definitions and methods of indexes
select am.amname, pg_get_indexdef(i.indexrelid), pg_get_indexdef(i.indexrelid, 1, true), pg_get_expr(i.indpred, i.indrelid) from pg_index i join pg_class c on c.oid = i.indexrelid join pg_am am on am.oid = c.relam where i.indrelid in ('customers'::regclass, 'sales.daily'::regclass) order by 2
-- title: parts of a primary key
select a.attname from pg_index i join pg_attribute a on a.attrelid = i.indrelid and a.attnum = any (i.indkey) where i.indrelid = 'sales.lines'::regclass and i.indisprimary order by a.attnum
-- title: labels of enums
select n.nspname, t.typname, e.enumlabel from pg_type t join pg_enum e on t.oid = e.enumtypid join pg_namespace n on n.oid = t.typnamespace order by 1, 2, e.enumsortorder
-- title: labels of an enum in one line
select string_agg(enumlabel, ', ' order by enumsortorder) from pg_enum where enumtypid = 'sales.state'::regtype
-- title: domains and what they stand for
select t.typname, format_type(t.typbasetype, t.typtypmod), t.typnotnull from pg_type t join pg_namespace n on n.oid = t.typnamespace where t.typtype = 'd' and n.nspname in ('public', 'sales') order by 1
-- title: comments
select c.relname, obj_description(c.oid, 'pg_class'), obj_description(c.oid), a.attname, col_description(c.oid, a.attnum) from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped where c.relname = 'customers' order by a.attnum
-- title: comments by their table
select d.description, d.objsubid from pg_description d where d.objoid = 'customers'::regclass and d.classoid = 'pg_class'::regclass order by 2
-- title: a comment by a name put together
select table_name, obj_description((quote_ident(table_schema) || '.' || quote_ident(table_name))::regclass) from information_schema.tables where table_schema = 'public' order by 1
-- title: partitions and children
select p.relname as parent, c.relname as child from pg_inherits i join pg_class p on p.oid = i.inhparent join pg_class c on c.oid = i.inhrelid where p.relkind in ('r', 'p') order by 1, 2
-- title: functions
select p.proname, pg_get_function_identity_arguments(p.oid) as args, pg_get_function_result(p.oid) as result, p.prokind, p.provolatile, p.prosecdef from pg_proc p join pg_namespace n on n.oid = p.pronamespace where n.nspname in ('public', 'sales') order by 1, 2
-- title: tables and their indexes and rules
select schemaname, tablename, hasindexes from pg_tables where schemaname in ('public', 'sales', 'Odd Schema') order by 1, 2
-- title: materialized views
select schemaname, matviewname, hasindexes, ispopulated, definition from pg_matviews order by 1, 2
-- title: views with a definition
select viewname, definition from pg_views where schemaname = 'public' order by 1
-- title: does a table exist
select exists (select 1 from information_schema.tables where table_schema = 'public' and table_name = 'customers') as yes, to_regclass('public.nothing') is null as no, to_regclass('customers') is not null as also
-- title: extensions
select extname, extversion from pg_extension where extname <> 'plpgsql' order by 1
-- title: rows estimated
select reltuples::bigint as estimate from pg_class where oid = 'public.customers'::regclass
-- title: rows estimated through joins
select n.nspname, c.relname, c.reltuples from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = 'public' and c.relkind = 'r' and c.reltuples > 0 order by 1, 2
-- title: the database
select datname = current_database() as here, pg_encoding_to_char(encoding) from pg_database where datname = current_database()
-- title: a row as json
select row_to_json(x) from (select table_name, is_insertable_into from information_schema.tables where table_schema = 'sales' order by 1) x
-- title: names with quotes
select quote_ident(table_schema) || '.' || quote_ident(table_name) from information_schema.tables where table_schema = 'Odd Schema'
-- title: a cast of a name with quotes
select relname from pg_class where oid = '"Odd Schema"."T ""q"" ''x''"'::regclass
-- title: a catalog joined to a table
select c.column_name, count(t.id) from information_schema.columns c left join customers t on c.column_name = 'id' where c.table_name = 'customers' and c.ordinal_position < 4 group by 1 order by 1
-- title: a catalog in WITH, renamed
with t (schema, name) as (select table_schema, table_name from information_schema.tables) select * from t where schema = 'sales' order by name
-- title: a catalog with a column alias list
select b from pg_namespace as x (a, b) where b = 'sales'
-- title: sequences and their columns
select s.relname, pg_get_serial_sequence('sales.orders', 'id') from pg_class s where s.relkind = 'S' and s.relname like 'orders%'
-- title: sequences
select sequence_schema, sequence_name, data_type, start_value, increment from information_schema.sequences order by 1, 2
-- title: the search path
select 'public' = any (current_schemas(false)) as there, 'pg_catalog' = any (current_schemas(true)) as too
-- title: types by their text
select 'integer'::regtype::oid, pg_typeof(1) = 'integer'::regtype, format_type(1042, -1), format_type(25, null) where 'character varying'::regtype = 1043
