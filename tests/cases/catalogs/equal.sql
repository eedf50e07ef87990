-- What must be the real catalog's own for those who see everything; rows of the system are left out, and NOT NULL constraints.
-- title: information_schema.tables
select table_catalog, table_schema, table_name, table_type, is_insertable_into, is_typed from information_schema.tables where table_schema not in ('pg_catalog', 'information_schema', 'pg_toast')
-- title: information_schema.columns
select table_catalog, table_schema, table_name, column_name, column_default, is_nullable, data_type, character_maximum_length, character_octet_length, numeric_precision, numeric_precision_radix, numeric_scale, datetime_precision, interval_type, domain_catalog, domain_schema, domain_name, udt_catalog, udt_schema, udt_name, is_self_referencing, is_identity, identity_generation, identity_start, identity_increment, identity_maximum, identity_minimum, identity_cycle, is_generated, generation_expression, is_updatable from information_schema.columns where table_schema not in ('pg_catalog', 'information_schema', 'pg_toast')
-- title: information_schema.views
select table_name, view_definition, is_updatable, is_insertable_into from information_schema.views where table_schema not in ('pg_catalog', 'information_schema', 'pg_toast')
-- title: information_schema.table_constraints
select constraint_schema, constraint_name, table_schema, table_name, constraint_type, is_deferrable, initially_deferred, enforced, nulls_distinct from information_schema.table_constraints where table_schema not in ('pg_catalog', 'information_schema', 'pg_toast') and constraint_name not like '%\_not\_null'
-- title: information_schema.key_column_usage
select constraint_name, table_schema, table_name, column_name, ordinal_position, position_in_unique_constraint from information_schema.key_column_usage where table_schema not in ('pg_catalog', 'information_schema', 'pg_toast')
-- title: information_schema.constraint_column_usage
select table_schema, table_name, column_name, constraint_schema, constraint_name from information_schema.constraint_column_usage where table_schema not in ('pg_catalog', 'information_schema', 'pg_toast') and constraint_name not like '%\_not\_null'
-- title: information_schema.referential_constraints
select constraint_name, unique_constraint_schema, unique_constraint_name, match_option, update_rule, delete_rule from information_schema.referential_constraints
-- title: information_schema.routines
select specific_schema, routine_catalog, routine_schema, routine_name, routine_type, data_type, type_udt_schema, type_udt_name, routine_body, external_language, is_deterministic, is_null_call, security_type from information_schema.routines where routine_schema not in ('pg_catalog', 'information_schema', 'pg_toast')
-- title: information_schema.parameters
select specific_schema, ordinal_position, parameter_mode, is_result, parameter_name, data_type, udt_schema, udt_name from information_schema.parameters where specific_schema not in ('pg_catalog', 'information_schema', 'pg_toast')
-- title: information_schema.domains
select domain_schema, domain_name, data_type, character_maximum_length, numeric_precision, numeric_scale, udt_name from information_schema.domains where domain_schema not in ('pg_catalog', 'information_schema', 'pg_toast')
-- title: information_schema.element_types
select object_schema, object_name, object_type, data_type, udt_schema, udt_name from information_schema.element_types where object_schema not in ('pg_catalog', 'information_schema', 'pg_toast') and object_type = 'TABLE'
-- title: information_schema.user_defined_types
select user_defined_type_schema, user_defined_type_name, user_defined_type_category from information_schema.user_defined_types
-- title: information_schema.sequences
select sequence_schema, sequence_name, data_type, start_value, minimum_value, maximum_value, increment, cycle_option from information_schema.sequences
-- title: information_schema.information_schema_catalog_name
select catalog_name from information_schema.information_schema_catalog_name
-- title: pg_catalog.pg_tables
select schemaname, tablename, hasindexes, hasrules, rowsecurity from pg_catalog.pg_tables where schemaname not in ('pg_catalog', 'information_schema', 'pg_toast')
-- title: pg_catalog.pg_views
select schemaname, viewname, definition from pg_catalog.pg_views where schemaname not in ('pg_catalog', 'information_schema', 'pg_toast')
-- title: pg_catalog.pg_matviews
select schemaname, matviewname, hasindexes, ispopulated, definition from pg_catalog.pg_matviews
-- title: pg_catalog.pg_indexes
select schemaname, tablename, indexname, indexdef from pg_catalog.pg_indexes where schemaname not in ('pg_catalog', 'information_schema', 'pg_toast')
-- title: pg_catalog.pg_sequences
select schemaname, sequencename, data_type, start_value, min_value, max_value, increment_by, cycle, cache_size from pg_catalog.pg_sequences
-- title: pg_catalog.pg_namespace
select nspname from pg_catalog.pg_namespace where nspname <> 'pg_toast'
-- title: pg_catalog.pg_class
select relname, relkind, relpersistence, relkind in ('r', 'm') and reltuples = 50 as fifty, relchecks, relhasindex, relisshared, relhassubclass and relkind <> 'I' as parent, relrowsecurity, relispopulated, relreplident, relispartition and relkind <> 'i' as partition from pg_catalog.pg_class where relnamespace in (select oid from pg_namespace where nspname in ('public', 'sales', 'Odd Schema')) and relkind in ('r', 'p', 'v', 'm', 'i', 'I', 'S')
-- title: pg_catalog.pg_attribute
select a.attname, a.atttypmod, a.attnotnull, a.atthasdef, a.attidentity, a.attgenerated, a.attislocal, a.attinhcount, a.attlen, a.attbyval, a.attalign, a.attstorage, a.attndims, a.attcollation, format_type(a.atttypid, a.atttypmod), a.attrelid::regclass::text as relation from pg_catalog.pg_attribute a where a.attnum > 0 and not a.attisdropped and a.atttypid < 16384 and a.attrelid in (select oid from pg_class where relnamespace in (select oid from pg_namespace where nspname in ('public', 'sales', 'Odd Schema')) and relkind in ('r', 'p', 'v', 'm'))
-- title: pg_catalog.pg_constraint
select conname, contype, condeferrable, condeferred, convalidated, confupdtype, confdeltype, confmatchtype, conislocal, connoinherit, conindid <> 0 as indexed, conrelid::regclass::text as relation from pg_catalog.pg_constraint where conrelid <> 0 and contype <> 'n' and connamespace in (select oid from pg_namespace where nspname in ('public', 'sales', 'Odd Schema'))
-- title: pg_catalog.pg_index
select indnatts, indnkeyatts, indisunique, indisprimary, indisexclusion, indimmediate, indisclustered, indisvalid, indisreplident, indoption, pg_get_expr(indpred, indrelid) as predicate, pg_get_expr(indexprs, indrelid) as expressions, indexrelid::regclass::text as index from pg_catalog.pg_index where indrelid in (select oid from pg_class where relnamespace in (select oid from pg_namespace where nspname in ('public', 'sales', 'Odd Schema')) and relkind in ('r', 'm', 'p'))
-- title: pg_catalog.pg_type
select oid, typname, typlen, typbyval, typtype, typcategory, typispreferred, typisdefined, typdelim, typelem, typarray, typalign, typstorage, typbasetype, typcollation from pg_catalog.pg_type where typnamespace = 11 and typrelid = 0 and typname !~ '^_pg_' and oid < 12000
-- title: pg_catalog.pg_type, again
select typname, typlen, typbyval, typtype, typcategory, typdelim, typnotnull from pg_catalog.pg_type where typnamespace in (select oid from pg_namespace where nspname in ('public', 'sales', 'Odd Schema'))
-- title: pg_catalog.pg_proc
select proname, procost, prorows, prokind, prosecdef, proleakproof, proisstrict, proretset, provolatile, proparallel, pronargs, pronargdefaults, proargmodes, proargnames from pg_catalog.pg_proc where pronamespace in (select oid from pg_namespace where nspname in ('public', 'sales', 'Odd Schema'))
-- title: pg_catalog.pg_description
select description, objsubid from pg_catalog.pg_description where objoid >= 16384
-- title: pg_catalog.pg_sequence
select seqtypid, seqstart, seqincrement, seqmax, seqmin, seqcache, seqcycle from pg_catalog.pg_sequence
-- title: pg_catalog.pg_collation
select oid, collname from pg_catalog.pg_collation where oid in (100, 950, 951)
-- title: pg_catalog.pg_am
select oid, amname, amtype from pg_catalog.pg_am
