-- title: a verbose plan lists hidden columns
-- rule: explain
explain (verbose) select id from employees
-- title: a plan spells out a view
-- rule: explain
explain select * from order_totals
-- title: a plan spells out a function
-- rule: explain
explain select * from series(3)
