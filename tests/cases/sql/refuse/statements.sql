-- title: nothing
-- rule: one_statement

-- title: only a comment
-- rule: one_statement
-- hello
-- title: two statements
-- rule: one_statement
select 1; select 2
-- title: leave the read only transaction
-- rule: one_statement
commit; drop table customers
-- title: insert
-- rule: read_only
insert into orders values (1)
-- title: update
-- rule: read_only
update orders set total = 0
-- title: delete
-- rule: read_only
delete from orders
-- title: merge
-- rule: read_only
merge into orders using customers on false when not matched then do nothing
-- title: insert in a WITH query
-- rule: read_only
with x as (insert into orders values (1) returning *) select * from x
-- title: delete in a nested WITH query
-- rule: read_only
select * from (with x as (delete from orders returning id) select id from x) y
-- title: select into
-- rule: select_into
select * into loot from customers
-- title: create table as
-- rule: statement
create table loot as select 1
-- title: explain create table as
-- rule: statement
explain create table loot as select 1
-- title: for update
-- rule: locking
select id from orders for update
-- title: for key share in a subselect
-- rule: locking
select * from (select id from orders for key share) x
-- title: copy to program
-- rule: read_only
copy (select 1) to program 'id'
-- title: do block
-- rule: statement
do $$ begin perform 1; end $$
-- title: call
-- rule: statement
call steal()
-- title: set
-- rule: statement
set search_path = evil
-- title: reset role
-- rule: statement
reset role
-- title: set session authorization
-- rule: statement
set session authorization postgres
-- title: begin
-- rule: statement
begin
-- title: show
-- rule: statement
show all
-- title: listen
-- rule: statement
listen x
-- title: prepare
-- rule: statement
prepare p as select 1
-- title: execute
-- rule: statement
execute p
-- title: declare a cursor
-- rule: statement
declare c cursor for select 1
-- title: lock
-- rule: statement
lock table orders
-- title: vacuum
-- rule: statement
vacuum
-- title: drop
-- rule: statement
drop table orders
-- title: explain analyze
-- rule: explain
explain analyze select 1
-- title: explain with analyze among options
-- rule: explain
explain (costs off, analyze) select 1
-- title: explain with buffers
-- rule: explain
explain (buffers) select 1
-- title: explain with settings
-- rule: explain
explain (settings on) select 1
-- title: explain analyze of a delete
-- rule: explain
explain analyze delete from orders
-- title: explain of a delete
-- rule: read_only
explain delete from orders
-- title: explain of an execute
-- rule: statement
explain execute p
-- title: parameters with a gap
-- rule: parameters
select $1, $3
-- title: syntax error
-- rule: syntax
selec 1
-- title: merge action
-- rule: statement
select merge_action()
-- title: current of
-- rule: syntax
select 1 from orders where current of c x
