-- title: a hidden table
-- rule: unknown_table
select * from secrets
-- title: a hidden table qualified
-- rule: unknown_table
select token from public.secrets
-- title: a hidden table in EXISTS
-- rule: unknown_table
select 1 where exists (select 1 from secrets)
-- title: a hidden table behind TABLE
-- rule: unknown_table
table secrets
-- title: a hidden table behind a WITH query that is out of reach
-- rule: unknown_table
select * from (with secrets as (select 1) select * from secrets) x, secrets
-- title: a hidden table before the WITH query of its name
-- rule: unknown_table
with a as (select * from secrets), secrets as (select 1) select * from a
-- title: a WITH query without RECURSIVE that names itself
-- rule: unknown_table
with secrets as (select * from secrets) select * from secrets
-- title: a WITH query is not meant by a qualified name
-- rule: unknown_table
with secrets as (select 1) select * from public.secrets
-- title: a hidden table's column without FROM
-- rule: unknown_table
select secrets.token
-- title: another database
-- rule: unknown_table
select * from other.public.orders
-- title: a hidden column
-- rule: unknown_column
select salary from employees
-- title: a hidden column qualified
-- rule: unknown_column
select e.salary from employees e
-- title: a hidden column fully qualified
-- rule: unknown_column
select public.employees.salary from public.employees
-- title: a hidden column in WHERE
-- rule: unknown_column
select id from employees where salary > 5000
-- title: a hidden column in ORDER BY
-- rule: unknown_column
select id from employees order by salary
-- title: a hidden column in GROUP BY
-- rule: unknown_column
select count(*) from employees group by salary
-- title: an alias does not cover a hidden column in GROUP BY
-- rule: unknown_column
select upper(name) as salary, count(*) from employees group by salary
-- title: a hidden column in USING
-- rule: unknown_column
select e.id from employees e join employees f using (salary)
-- title: a hidden column of the outer query
-- rule: unknown_column
select id from employees e where exists (select 1 from orders where total = salary)
-- title: a hidden column of the outer query by alias
-- rule: unknown_column
select (select e.salary) from employees e
-- title: a hidden column of the outer query past a function of unknown columns
-- rule: unknown_column
select (select salary from unnest(array[1]) u) from employees
-- title: a hidden column through LATERAL
-- rule: unknown_column
select x.s from employees e, lateral (select e.salary as s) x
-- title: a hidden column through a function in FROM
-- rule: unknown_column
select g from employees e, generate_series(1, e.salary::int) g
-- title: a hidden column through a join alias
-- rule: unknown_column
select j.salary from (employees e join orders o on true) as j
-- title: a hidden column through a USING alias
-- rule: unknown_column
select j.salary from employees e join orders o using (id) as j
-- title: a hidden column through a table alias's columns
-- rule: unknown_column
select x.f from employees as x(a, b, c, d, e, f) where f is null and d = e
-- title: a hidden column in a window
-- rule: unknown_column
select rank() over (order by salary) from employees
-- title: a hidden column in an aggregate filter
-- rule: unknown_column
select count(*) filter (where salary > 1) from employees
-- title: a hidden column in VALUES of a lateral subselect
-- rule: unknown_column
select v.column1 from employees e, lateral (values (e.salary)) v
-- title: a hidden column in DISTINCT ON
-- rule: unknown_column
select distinct on (salary) id from employees
-- title: a hidden column in IN
-- rule: unknown_column
select id from employees where 5000 in (salary)
-- title: a hidden column through an unnamed star's subselect
-- rule: unknown_column
select salary from (select * from employees) x
-- title: a hidden column by function notation
-- rule: function
select salary(e) from employees e
-- title: a hidden column in a join condition
-- rule: unknown_column
select e.id from employees e join employees m on e.salary < m.salary
-- title: a hidden column in XMLTABLE
-- rule: unknown_column
select * from employees e, xmltable('/a' passing xmlparse(content e.notes) columns a text)
-- title: a hidden column in JSON_TABLE
-- rule: unknown_column
select * from employees, json_table(notes, '$' columns (a text path '$'))
-- title: a hidden column in a CYCLE
-- rule: unknown_column
with recursive t as (select id, manager_id from employees union all select e.salary::int, e.id from employees e join t on t.id = e.manager_id) select * from t
-- title: a hidden column in JSON_ARRAY of a query
-- rule: unknown_column
select json_array(select salary from employees)
-- title: an unknown column
-- rule: unknown_column
select nope from orders
-- title: an alias hides the table's name
-- rule: unknown_table
select employees.id from employees e
-- title: a subselect does not see its neighbour
-- rule: unknown_column
select * from employees e, (select manager_id) x
-- title: the accounts catalog
-- rule: catalog
select * from pg_authid
-- title: the accounts catalog qualified
-- rule: catalog
select rolpassword from pg_catalog.pg_authid
-- title: statistics
-- rule: catalog
select most_common_vals from pg_stats
-- title: other sessions
-- rule: catalog
select query from pg_stat_activity
-- title: settings
-- rule: catalog
select * from pg_settings
-- title: server file settings
-- rule: catalog
select * from pg_file_settings
-- title: grants in the information schema
-- rule: catalog
select * from information_schema.column_privileges
-- title: options of foreign servers
-- rule: catalog
select * from information_schema.foreign_server_options
-- title: texts of triggers
-- rule: catalog
select action_statement from information_schema.triggers
-- title: dependencies
-- rule: catalog
select * from pg_depend
-- title: rewritten rules
-- rule: catalog
select ev_action from pg_catalog.pg_rewrite
-- title: a sample of a catalog
-- rule: sampling
select * from pg_class tablesample system (10)
-- title: the writer of a catalog's row
-- rule: unknown_column
select c.nothing from pg_class c
-- title: a transaction id of a catalog's row
-- rule: system_column
select xmin from pg_class
-- title: the place of a catalog's row
-- rule: unknown_column
select ctid from pg_class
-- title: a catalog's row type
-- rule: type
select null::pg_catalog.pg_class
-- title: a catalog's row type lent to a value
-- rule: type
select * from jsonb_populate_recordset(null::pg_catalog.pg_class, '[]')
-- title: a scan of a closed catalog spelled as the judge spells an open one
-- rule: type
select * from (select * from pg_catalog.jsonb_populate_recordset(null::pg_catalog.pg_authid, $1) as pg_authid) as x
-- title: a column that a scan of the judge's spelling has not
-- rule: type
select * from (select oid from pg_catalog.jsonb_populate_recordset(null::pg_catalog.pg_class, $1) as pg_class) as x
-- title: a function of the catalog in FROM
-- rule: function
select * from format_type(23, null) f
-- title: what stands behind functions
-- rule: unknown_table
select * from behind.names
-- title: large objects
-- rule: catalog
select data from pg_largeobject
-- title: a temporary schema
-- rule: catalog
select * from pg_temp.x
-- title: toast
-- rule: catalog
select * from pg_toast.pg_toast_1
-- title: a schema name that does not exist
-- rule: unknown_table
select * from nowhere.orders
-- title: the table's own oid
-- rule: system_column
select tableoid from orders
-- title: the table's own oid qualified
-- rule: system_column
select o.tableoid from orders o
-- title: transaction ids of rows
-- rule: system_column
select xmin from orders
-- title: a name of the catalog by cast
-- rule: unknown_table
select 'secrets'::regclass
-- title: a name of the catalog by typed literal
-- rule: unknown_table
select regclass 'secrets'
-- title: a name of the catalog by array cast
-- rule: type
select '{secrets}'::regclass[]
-- title: a role's name by cast
-- rule: type
select 10::pg_catalog.regrole
-- title: a name of the catalog in a column definition
-- rule: type
select * from json_to_record('{"a": "secrets"}') as x(a regclass)
-- title: a name of the catalog in JSON_VALUE
-- rule: type
select json_value('{"a": "secrets"}', '$.a' returning regclass)
-- title: a name of the catalog in XMLTABLE
-- rule: type
select * from xmltable('/a' passing xml '<a/>' columns a regclass)
-- title: the row type of a hidden table
-- rule: type
select null::secrets
-- title: the row type of a table with hidden columns
-- rule: type
select row_to_json(null::employees)
-- title: the array type of a row type
-- rule: type
select null::_employees
-- title: a row type of the catalog
-- rule: type
select null::pg_authid
-- title: an operator of another schema
-- rule: operator
select 1 operator(evil.+) 2
-- title: a collation of another schema
-- rule: collation
select 'a' collate evil.x

-- title: a system column of a whole row
-- rule: system_column
select (o).tableoid, (array_agg(o))[1].id from orders o group by o

-- title: a system column of a whole row between parentheses
-- rule: system_column
select (((o))).xmin from orders o
