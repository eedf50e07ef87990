-- title: a view that locks
-- rule: definition
select id from locks
-- title: a view that locks, counted
-- rule: definition
select count(*) from locks
-- title: a view that locks below another
-- rule: definition
select id from locks_below
-- title: a view that sleeps
-- rule: definition
select id from sleeps
-- title: a view that moves a sequence
-- rule: definition
select n from counts_on
-- title: a view that reads a file
-- rule: definition
select f from reads_files
-- title: a view that reads a large object
-- rule: definition
select o from reads_objects
-- title: a view that sets a setting
-- rule: definition
table sets
-- title: a view that runs SQL given as text
-- rule: definition
table runs_text
-- title: a view that ends another session
-- rule: definition
table ends_others
-- title: a view that takes a transaction's number
-- rule: definition
table takes_a_transaction
-- title: a default of an argument that locks
-- rule: definition
select locked_by_default()
-- title: an operator over a built-in that locks
-- rule: function
select !! 1
-- title: an operator over a built-in that locks, qualified
-- rule: function
select operator(public.!!) 1::bigint
-- title: a sampling method nobody knows
-- rule: sampling
select * from orders tablesample house (1)
-- title: a collation of a schema
-- rule: collation
select name collate public.house from orders
