-- Definitions that an agent with `define` everywhere does not get, whose rights are those of house.cedar.
-- title: a function
-- rule: definition_kind
create function app.f() returns int language sql as 'select 1'
-- title: a procedure
-- rule: definition_kind
create procedure app.p() language sql as 'select 1'
-- title: a program
-- rule: definition_kind
do $$ begin perform 1; end $$
-- title: a call
-- rule: definition_kind
call app.p()
-- title: a trigger
-- rule: definition_kind
create trigger t before insert on app.free for each row execute function app.f()
-- title: an event trigger
-- rule: definition_kind
create event trigger t on ddl_command_end execute function app.f()
-- title: a rule
-- rule: definition_kind
create rule r as on insert to app.free do also insert into app.alone values (1, 'x')
-- title: an extension
-- rule: definition_kind
create extension dblink
-- title: a role
-- rule: definition_kind
create role mallory superuser
-- title: a role is altered
-- rule: definition_kind
alter role current_user superuser
-- title: a grant
-- rule: definition_kind
grant select on app.hidden to public
-- title: a grant of a role
-- rule: definition_kind
grant pg_read_all_data to current_user
-- title: privileges to come
-- rule: definition_kind
alter default privileges grant all on tables to public
-- title: an owner
-- rule: definition
alter table app.free owner to current_user
-- title: an owner of a schema
-- rule: definition_kind
alter schema app owner to current_user
-- title: what somebody owns
-- rule: definition_kind
reassign owned by current_user to postgres
-- title: a policy
-- rule: definition_kind
create policy p on app.guarded using (true)
-- title: a policy goes
-- rule: definition_kind
drop policy p on app.guarded
-- title: row security goes
-- rule: definition
alter table app.guarded disable row level security
-- title: row security is not forced
-- rule: definition
alter table app.guarded no force row level security
-- title: a foreign server
-- rule: definition_kind
create server s foreign data wrapper postgres_fdw
-- title: a foreign table
-- rule: definition_kind
create foreign table app.f (id int) server s
-- title: a foreign schema
-- rule: definition_kind
import foreign schema public from server s into app
-- title: a tablespace
-- rule: definition_kind
create tablespace t location '/tmp'
-- title: a tablespace of a table
-- rule: definition
create table app.t (id int) tablespace other
-- title: a database
-- rule: definition_kind
create database d
-- title: a setting
-- rule: definition_kind
set role postgres
-- title: a setting of the session
-- rule: definition_kind
set session authorization postgres
-- title: a setting of the server
-- rule: definition_kind
alter system set log_statement = 'all'
-- title: a setting of the database
-- rule: definition_kind
alter database postgres set search_path = vault
-- title: a setting goes
-- rule: definition_kind
reset all
-- title: maintenance
-- rule: definition_kind
vacuum full app.free
-- title: an index anew
-- rule: definition_kind
reindex table app.free
-- title: a cluster
-- rule: definition_kind
cluster app.free using free_number
-- title: rows away
-- rule: definition_kind
truncate app.free
-- title: a copy to a program
-- rule: definition_kind
copy app.free to program 'id'
-- title: a lock
-- rule: definition_kind
lock table app.free
-- title: a publication
-- rule: definition_kind
create publication p for all tables
-- title: a subscription
-- rule: definition_kind
create subscription s connection '' publication p
-- title: an operator
-- rule: definition_kind
create operator app.=== (leftarg = int, rightarg = int, function = int4eq)
-- title: a cast
-- rule: definition_kind
create cast (text as integer) with inout as implicit
-- title: an aggregate
-- rule: definition_kind
create aggregate app.a (int) (sfunc = int4pl, stype = int)
-- title: a domain
-- rule: definition_kind
create domain app.d as int check (app.shout(value) > 0)
-- title: a composite type
-- rule: definition_kind
create type app.c as (id int)
-- title: a base type
-- rule: definition_kind
create type app.b
-- title: statistics
-- rule: definition_kind
create statistics app.s on id, number from app.free
-- title: a transaction
-- rule: definition_kind
commit
-- title: a prepared statement
-- rule: definition_kind
prepare p as select 1
-- title: a notice
-- rule: definition_kind
notify x
-- title: a label of security
-- rule: definition_kind
security label on table app.free is 'x'
-- title: a large object is commented on
-- rule: definition
comment on large object 1 is 'x'
-- title: two statements
-- rule: one_statement
create schema a; create role b
-- title: a schema with more in it
-- rule: definition
create schema side create table t (id int)
-- title: a schema for somebody
-- rule: definition
create schema side authorization postgres
-- title: a schema of the server
-- rule: name_taken
create schema pg_mine
-- title: a table of a hidden schema
-- rule: unknown_schema
create table vault.t (id int)
-- title: a type of a hidden schema
-- rule: unknown_schema
create type vault.t as enum ('a')
-- title: a hidden schema goes
-- rule: unknown_schema
drop schema vault
-- title: a table of the catalog
-- rule: unknown_schema
create table pg_catalog.t (id int)
-- title: a catalog is altered
-- rule: catalog
alter table pg_catalog.pg_authid add column x int
-- title: a hidden table is altered
-- rule: unknown_table
alter table app.hidden add column x int
-- title: a hidden table goes
-- rule: unknown_table
drop table app.hidden
-- title: a hidden view goes
-- rule: unknown_table
drop view app.hidden_view
-- title: a hidden table is called otherwise
-- rule: unknown_table
alter table app.hidden rename to free2
-- title: a table of a hidden schema is altered
-- rule: unknown_table
alter table vault.gold add column x int
-- title: a foreign key to a hidden table
-- rule: unknown_table
alter table app.free add foreign key (number) references app.hidden (id)
-- title: a column that points to a hidden table
-- rule: unknown_table
create table app.t (id int references vault.gold)
-- title: a comment on a hidden column
-- rule: unknown_column
comment on column app.people.salary is 'x'
-- title: a table moves to another schema
-- rule: definition_kind
alter table app.free set schema vault
-- title: a table like another
-- rule: definition
create table app.t (like app.people including all)
-- title: a table of a query
-- rule: definition_kind
create table app.t as select * from app.docs
-- title: a table by SELECT INTO
-- rule: definition_kind
select * into app.t from app.docs
-- title: a view
-- rule: definition_kind
create view app.v as select email from app.people
-- title: a materialized view
-- rule: definition_kind
create materialized view app.v as select salary from app.people
-- title: a table that inherits
-- rule: definition
create table app.t () inherits (app.docs)
-- title: a table comes to inherit
-- rule: definition
alter table app.docs inherit app.free
-- title: a partition is attached
-- rule: definition
alter table app.whole attach partition app.free for values from ('2022-01-01') to ('2023-01-01')
-- title: a partition is detached
-- rule: definition
alter table app.whole detach partition app.whole_one
-- title: a whole with a hidden part
-- rule: reach
alter table app.watched add column x int
-- title: a whole with a hidden part goes
-- rule: reach
drop table app.watched
-- title: a name that a hidden table has
-- rule: name_taken
create table app.hidden (id int)
-- title: a name that an index has
-- rule: name_taken
create table app.free_number (id int)
-- title: a temporary table
-- rule: definition
create temp table people (id int)
-- title: an unlogged table
-- rule: definition
create unlogged table app.t (id int)
-- title: a table of a type
-- rule: definition
create table app.t of app.c
-- title: another way to keep rows
-- rule: definition
create table app.t (id int) using heap2
-- title: a drop with all that hangs on it
-- rule: cascade
drop table app.free cascade
-- title: a column with all that hangs on it
-- rule: cascade
alter table app.docs drop column body cascade
-- title: a schema with all that is in it
-- rule: cascade
drop schema app cascade
-- title: a table that a hidden table points to
-- rule: in_use
drop table app.free
-- title: a column that a view shows
-- rule: in_use
alter table app.docs drop column body
-- title: a column that a hidden view shows
-- rule: in_use
alter table app.alone drop column words
-- title: a hidden column is called otherwise
-- rule: unknown_column
alter table app.people rename column salary to team2
-- title: a masked column is called otherwise
-- rule: mask
alter table app.people rename column email to team2
-- title: a column that is not read is called otherwise
-- rule: unknown_column
alter table app.people rename column born to team2
-- title: a table with hidden columns is called otherwise
-- rule: reach
alter table app.half rename to halves
-- title: a table with rules of rows is called otherwise
-- rule: row_rule
alter table app.docs rename to papers
-- title: a tagged column is called otherwise
-- rule: tags
alter table app.people rename column badge to team2
-- title: a tagged table is called otherwise
-- rule: tags
alter table app.tagged rename to plain
-- title: a tagged column goes
-- rule: tags
alter table app.people drop column badge
-- title: a tagged table goes
-- rule: tags
drop table app.tagged
-- title: a tag goes with its comment
-- rule: tags
comment on column app.people.badge is 'x'
-- title: a tag of a table goes
-- rule: tags
comment on table app.tagged is null
-- title: a tag is written
-- rule: tags
comment on column app.free.words is '@pii'
-- title: a label is called otherwise
-- rule: definition
alter type app.level rename value 'closed' to 'open2'
-- title: a check of a hidden column
-- rule: unknown_column
alter table app.people add check (salary > 100)
-- title: a check of a hidden column for new rows
-- rule: unknown_column
alter table app.people add check (salary > 100) not valid
-- title: a check of a whole row
-- rule: unknown_column
alter table app.people add check (people is not null)
-- title: a check of a whole row in words
-- rule: unknown_column
alter table app.people add check (length(people::text) > 10)
-- title: a check of a field of a row
-- rule: unknown_column
alter table app.people add check ((people).salary > 10)
-- title: a check of a masked column
-- rule: mask
alter table app.people add check (email like 'a%')
-- title: a check of a column that is not read
-- rule: unknown_column
alter table app.people add check (born > '1980-01-01')
-- title: a check over hidden rows
-- rule: row_rule
alter table app.docs add check (body <> 'secret')
-- title: a check over rows that the database keeps
-- rule: row_rule
alter table app.guarded add check (mine <> 'x')
-- title: a check of a system column
-- rule: system_column
alter table app.free add check (xmin is not null)
-- title: a check with a query
-- rule: definition
alter table app.free add check (number > (select max(salary) from app.people))
-- title: a check with exists
-- rule: definition
alter table app.free add check (exists (select from app.hidden))
-- title: a check with an owner's function
-- rule: definition
alter table app.free add check (app.shout(number) > 0)
-- title: a check with an owner's operator
-- rule: definition
alter table app.free add check (words operator(app.<<<) number)
-- title: a check with a parameter
-- rule: definition
alter table app.free add check (number > $1)
-- title: a check that reads a file
-- rule: function
alter table app.free add check (pg_read_file('/etc/passwd') <> words)
-- title: a check that waits
-- rule: function
alter table app.free add check (pg_sleep(10) is null)
-- title: a check that reads a table given as text
-- rule: function
alter table app.free add check (query_to_xml('select 1', true, true, '') is null)
-- title: a check with a sequence
-- rule: function
alter table app.free add check (nextval('app.numbers') > 0)
-- title: a check with an aggregate over rows
-- rule: definition
alter table app.free add check (count(*) over () > 1)
-- title: not null of a hidden column
-- rule: unknown_column
alter table app.people alter column salary set not null
-- title: not null of a masked column
-- rule: mask
alter table app.people alter column email set not null
-- title: not null over hidden rows
-- rule: row_rule
alter table app.docs alter column body set not null
-- title: unique of a hidden column
-- rule: unknown_column
alter table app.people add unique (salary)
-- title: unique of a masked column
-- rule: mask
alter table app.people add unique (email)
-- title: unique over hidden rows
-- rule: row_rule
alter table app.docs add unique (body)
-- title: unique of a hidden index
-- rule: unknown_index
alter table app.people add unique using index people_salary
-- title: a foreign key of a hidden column
-- rule: unknown_column
alter table app.people add foreign key (salary) references app.free (number)
-- title: a foreign key to a hidden column
-- rule: unknown_column
alter table app.free add foreign key (number) references app.people (salary)
-- title: a foreign key to hidden rows
-- rule: row_rule
alter table app.free add foreign key (number) references app.docs (id) not valid
-- title: a foreign key to a masked column
-- rule: mask
create table app.t (m text references app.people (email))
-- title: exclusion
-- rule: definition
alter table app.free add exclude using gist (number with =)
-- title: an index of a hidden column
-- rule: unknown_column
create index on app.people (salary)
-- title: an index that includes a hidden column
-- rule: unknown_column
create index on app.people (id) include (salary)
-- title: an index where a hidden column
-- rule: unknown_column
create index on app.people (id) where salary > 100
-- title: an index that fails for a hidden value
-- rule: unknown_column
create index on app.people ((1 / (salary - 100)))
-- title: an index that fails for a masked value
-- rule: mask
create index on app.people ((1 / length(email)))
-- title: an index that fails for a hidden row
-- rule: row_rule
create index on app.docs ((1 / length(body)))
-- title: an index with a function
-- rule: definition
create index on app.free (app.double(number))
-- title: an index of a class that somebody made
-- rule: definition
create index on app.free (number app.my_ops)
-- title: an index beside
-- rule: definition
create index concurrently on app.free (number)
-- title: a hidden index goes
-- rule: unknown_index
drop index app.people_salary
-- title: an index of a hidden column is called otherwise
-- rule: unknown_index
alter index app.half_pay rename to mine
-- title: a type that fails for hidden values
-- rule: unknown_column
alter table app.people alter column salary type smallint
-- title: a type that shows hidden values
-- rule: unknown_column
alter table app.people alter column team type text using salary::text
-- title: a type that shows masked values
-- rule: mask
alter table app.people alter column team type text using email
-- title: a type whose index holds hidden values
-- rule: reach
alter table app.half alter column id type bigint
-- title: a type over hidden rows
-- rule: row_rule
alter table app.docs alter column region type varchar(5)
-- title: a type with a query
-- rule: definition
alter table app.free alter column words type text using (select token from app.hidden limit 1)
-- title: a type by an owner's function
-- rule: definition
alter table app.free alter column number type int using app.shout(number)
-- title: a generated copy of a hidden column
-- rule: unknown_column
alter table app.people add column pay int generated always as (salary) stored
-- title: a generated copy of a masked column
-- rule: mask
alter table app.people add column mail text generated always as (email) stored
-- title: a generated copy of a tagged column
-- rule: tags
alter table app.people add column who text generated always as (badge) virtual
-- title: a number for every hidden row
-- rule: row_rule
alter table app.docs add column n serial
-- title: an identity for every hidden row
-- rule: row_rule
alter table app.docs add column n int generated always as identity
-- title: whether there are hidden rows
-- rule: row_rule
alter table app.docs add column n int not null
-- title: a column that a hidden one has the name of
-- rule: name_taken
alter table app.people add column salary int
-- title: a default with a query
-- rule: definition
alter table app.free alter column words set default (select token from app.hidden limit 1)
-- title: a default with a column
-- rule: unknown_column
alter table app.free alter column words set default number::text
-- title: a default with an owner's function
-- rule: definition
alter table app.free alter column number set default app.shout(1)
-- title: a default of a hidden column
-- rule: unknown_column
alter table app.people alter column salary set default 1
-- title: a trigger is turned off
-- rule: definition
alter table app.free disable trigger all
-- title: storage
-- rule: definition
alter table app.free alter column words set storage external
-- title: a setting of a table
-- rule: definition
alter table app.free set (autovacuum_enabled = false)
-- title: a setting of a view
-- rule: definition_kind
alter view app.bodies set (security_barrier = false)
-- title: a view is called otherwise
-- rule: definition_kind
alter view app.bodies rename to b2
-- title: a sequence is moved
-- rule: definition_kind
alter sequence app.numbers restart
-- title: a sequence of a column
-- rule: definition
create sequence app.s owned by app.people.id
-- title: if it exists
-- rule: definition
drop table if exists app.hidden
-- title: unless it exists
-- rule: definition
create table if not exists app.hidden (id int)
-- title: only the whole
-- rule: definition
alter table only app.whole add column x int
-- title: a type of the catalog by number
-- rule: type
create table app.t (x regclass)
-- title: a type of a hidden row
-- rule: type
create table app.t (x app.hidden)
-- title: a table goes of which few rows may be deleted
-- rule: row_rule
drop table kept
-- title: a table of which few rows may be deleted gets a name without rules
-- rule: row_rule
alter table kept rename to mine
-- title: a column of a table of which few rows may be deleted gets a name without rules
-- rule: row_rule
alter table kept rename column words to others
-- title: every row is changed where few may be, by a type
-- rule: row_rule
alter table kept alter column number type bigint
-- title: every row is changed where few may be, by dropping a column
-- rule: row_rule
alter table kept drop column number
