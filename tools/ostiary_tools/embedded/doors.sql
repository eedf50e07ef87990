-- Nobody enters a database unless named here; the control migrations let the audit roles into theirs.
revoke connect, temporary on database control, shop, vectors, postgres from public;
revoke connect on database template1 from public;
grant connect on database shop to ostiary_agent, ostiary_changer;
grant connect on database vectors to ostiary_vectors;
-- A restored schema is made in the shop, and none in the control database.
grant connect, create on database shop to ostiary_restorer;
grant connect on database control to ostiary_restorer;
