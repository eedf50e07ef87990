-- Agents may read the shop; what they see of it is for the policy to say. They may make nothing here.
grant usage on schema public to ostiary_agent;
grant select on all tables in schema public to ostiary_agent;
grant execute on function net_amount(numeric, numeric) to ostiary_agent;
revoke execute on function net_amount(numeric, numeric) from public;
