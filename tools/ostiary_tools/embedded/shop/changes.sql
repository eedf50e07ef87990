-- Agents may change rows of the shop; which of them is for the policy to say. Safe to run twice.
grant usage on schema public to ostiary_changer;
grant select, insert, update, delete on categories, products, customers, addresses, employees, orders, order_items, payments, reviews to ostiary_changer;
grant select on order_totals, newsletter_recipients, monthly_sales to ostiary_changer;
grant execute on function net_amount(numeric, numeric) to ostiary_changer;
