-- title: read a file
-- rule: function
select pg_read_file('/etc/passwd')
-- title: read a file in FROM
-- rule: function
select * from pg_read_file('/etc/passwd')
-- title: read a file qualified
-- rule: function
select pg_catalog.pg_read_file('/etc/passwd')
-- title: read a file with a quoted name and comments
-- rule: function
select /* x */ "pg_read_file" /* y */ ('/etc/passwd')
-- title: read a file in ROWS FROM
-- rule: function
select * from rows from (generate_series(1, 2), pg_read_file('/etc/passwd'))
-- title: list a directory in a lateral join
-- rule: function
select * from orders o, lateral pg_ls_dir('/') d
-- title: read a file in ORDER BY
-- rule: function
select id from orders order by pg_read_file('/etc/passwd')
-- title: read a file in LIMIT
-- rule: function
select id from orders limit length(pg_read_file('/etc/passwd'))
-- title: read a file in a join condition
-- rule: function
select o.id from orders o join customers c on pg_read_file('/etc/passwd') is null
-- title: read a file in GROUP BY ROLLUP
-- rule: function
select count(*) from orders group by rollup (pg_read_file('/etc/passwd'))
-- title: read a file in HAVING
-- rule: function
select count(*) from orders having pg_read_file('/etc/passwd') is null
-- title: read a file in a window
-- rule: function
select sum(id) over (order by pg_read_file('/etc/passwd')) from orders
-- title: read a file in a named window
-- rule: function
select sum(id) over w from orders window w as (partition by pg_read_file('/etc/passwd'))
-- title: read a file in a window's frame
-- rule: function
select sum(id) over (order by id rows length(pg_read_file('/etc/passwd')) preceding) from orders
-- title: read a file in FILTER
-- rule: function
select count(*) filter (where pg_read_file('/etc/passwd') is null) from orders
-- title: read a file in WITHIN GROUP
-- rule: function
select percentile_disc(0.5) within group (order by pg_read_file('/etc/passwd')) from orders
-- title: read a file in an aggregate's ORDER BY
-- rule: function
select string_agg(status, ',' order by pg_read_file('/etc/passwd')) from orders
-- title: read a file in VALUES
-- rule: function
values (1), (length(pg_read_file('/etc/passwd')))
-- title: read a file in a second arm
-- rule: function
select 'a' union all select pg_read_file('/etc/passwd')
-- title: read a file in an unused WITH query
-- rule: function
with x as materialized (select pg_read_file('/etc/passwd')) select 1
-- title: read a file in TABLESAMPLE
-- rule: function
select id from orders tablesample bernoulli (length(pg_read_file('/etc/passwd')))
-- title: read a file in REPEATABLE
-- rule: function
select id from orders tablesample system (1) repeatable (length(pg_read_file('/etc/passwd')))
-- title: read a file in DISTINCT ON
-- rule: function
select distinct on (pg_read_file('/etc/passwd')) id from orders
-- title: read a file in CASE
-- rule: function
select case when pg_read_file('/etc/passwd') is null then 1 end
-- title: read a file in an array subscript
-- rule: function
select tags[length(pg_read_file('/etc/passwd'))] from customers
-- title: read a file in XMLTABLE
-- rule: function
select * from xmltable('/a' passing xmlparse(content pg_read_file('/etc/passwd')) columns a text)
-- title: read a file in a default of XMLTABLE
-- rule: function
select * from xmltable('/a' passing xml '<a/>' columns a text default pg_read_file('/etc/passwd'))
-- title: read a file in JSON_TABLE
-- rule: function
select * from json_table(pg_read_file('/etc/passwd')::jsonb, '$' columns (a text path '$.a'))
-- title: read a file in JSON_VALUE's default
-- rule: function
select json_value('{}', '$.a' default pg_read_file('/etc/passwd') on empty)
-- title: read a file in JSON_OBJECT
-- rule: function
select json_object('a' : pg_read_file('/etc/passwd'))
-- title: read a file in XMLELEMENT
-- rule: function
select xmlelement(name a, pg_read_file('/etc/passwd'))
-- title: read a file in a named argument
-- rule: function
select make_interval(days => length(pg_read_file('/etc/passwd')))
-- title: a call written as a column of a function
-- rule: unknown_column
select f.pg_read_file from lower('/etc/passwd') f
-- title: a call written as a column of an unnested value
-- rule: function
select f.pg_read_file from unnest(array['/etc/passwd']) f
-- title: a call written as a field of an expression
-- rule: function
select ('/etc/passwd'::text).pg_read_file
-- title: a call written as a field of a subselect
-- rule: function
select ((select '/etc/passwd'::text)).pg_read_file
-- title: a call written as a column of a subselect
-- rule: unknown_column
select x.pg_read_file from (select '/etc/passwd'::text as p) x
-- title: a cast written as a field
-- rule: function
select (16384::oid).regclass
-- title: write a file
-- rule: function
select lo_export(1, '/tmp/x')
-- title: import a file
-- rule: function
select lo_import('/etc/passwd')
-- title: sleep
-- rule: function
select pg_sleep(10)
-- title: sleep through a subselect in an operator
-- rule: function
select 1 where (select pg_sleep(10)) is null
-- title: terminate backends
-- rule: function
select pg_terminate_backend(pid) from generate_series(1, 9) pid
-- title: cancel a backend
-- rule: function
select pg_cancel_backend(1)
-- title: advisory lock
-- rule: function
select pg_advisory_lock(1)
-- title: write-ahead log message
-- rule: function
select pg_logical_emit_message(true, 'a', 'b')
-- title: replication slot
-- rule: function
select pg_create_physical_replication_slot('x')
-- title: switch the log
-- rule: function
select pg_switch_wal()
-- title: change a setting
-- rule: function
select set_config('transaction_read_only', 'off', false)
-- title: read a setting
-- rule: function
select current_setting('data_directory')
-- title: reload the configuration
-- rule: function
select pg_reload_conf()
-- title: notify
-- rule: function
select pg_notify('a', 'b')
-- title: next value
-- rule: function
select nextval('s')
-- title: sql in xml
-- rule: function
select query_to_xml('delete from orders', true, true, '')
-- title: a table as xml
-- rule: function
select table_to_xml('secrets', true, true, '')
-- title: the database as xml
-- rule: function
select database_to_xml(true, true, '')
-- title: sql in ts_stat
-- rule: function
select * from ts_stat('select token::tsvector from secrets')
-- title: sql in ts_rewrite
-- rule: function
select ts_rewrite('a'::tsquery, 'select 1')
-- title: definition of a trigger
-- rule: function
select pg_get_triggerdef(1)
-- title: privilege probe
-- rule: function
select has_table_privilege('secrets', 'select')
-- title: type probe by text
-- rule: function
select pg_input_is_valid('secrets', 'regclass')
-- title: to_regrole
-- rule: function
select to_regrole('secrets')
-- title: dblink
-- rule: function
select * from dblink('host=x', 'select 1') as t(a int)
-- title: a hidden function
-- rule: function
select steal()
-- title: a hidden function qualified
-- rule: function
select public.steal()
-- title: a function of another catalog
-- rule: function
select a.b.c(1)
-- title: an unknown built-in
-- rule: function
select pg_catalog.no_such_function(1)
-- title: a statistics function
-- rule: function
select pg_stat_get_activity(null)
-- title: an internal function
-- rule: function
select textin('x')
-- title: seed
-- rule: function
select setseed(0.5)
-- title: transaction id
-- rule: function
select txid_current()
-- title: sampling method of an extension
-- rule: sampling
select id from orders tablesample public.evil (1)
