-- What generated.cedar says, as a careful owner would write it: views in the tables' places.
CREATE SCHEMA kept;
ALTER TABLE item SET SCHEMA kept;
ALTER TABLE note SET SCHEMA kept;
ALTER TABLE crm.account SET SCHEMA kept;
ALTER TABLE crm.visit SET SCHEMA kept;
ALTER TABLE "order" SET SCHEMA kept;
ALTER TABLE "Odd Schema"."We""ird.Name" SET SCHEMA kept;
ALTER TABLE tree SET SCHEMA kept;
ALTER TABLE measured SET SCHEMA kept;
ALTER TABLE measured_old SET SCHEMA kept;
ALTER TABLE measured_new SET SCHEMA kept;
CREATE FUNCTION kept.lower_bound(n numeric) RETURNS numeric IMMUTABLE LANGUAGE sql AS 'SELECT floor($1 / 4) * 4';
CREATE VIEW item WITH (security_barrier) AS SELECT id, left(label, 3) || '***' AS label, qty, kept.lower_bound(price) AS price, weight,
    active, date_trunc('month', made::timestamp)::date AS made, seen, synced, "at", NULL::interval AS took
FROM kept.item WHERE id <> 4 AND id < 9;
CREATE VIEW note WITH (security_barrier) AS SELECT id, item_id, '***' AS body, NULL::jsonb AS doc, words, tags, marks,
    date_trunc('year', seen) AS seen, feeling FROM kept.note;
CREATE VIEW crm.account WITH (security_barrier) AS SELECT id, translate(code, 'c0123456789', 'x9999999999')::varchar(20) AS code, span, stay,
    spans, NULL::uuid AS token, address, raw, duo FROM kept.account;
CREATE VIEW crm.visit WITH (security_barrier) AS SELECT id, account_id, date_trunc('year', made::timestamp)::date AS made, 3 AS qty, took,
    doc, active FROM kept.visit WHERE account_id < 5;
CREATE VIEW "order" WITH (security_barrier) AS SELECT id, left("user", 3) || '***' AS "user", "from", "to", "select",
    kept.lower_bound("group") AS "group", "Desc", value, name, "order" FROM kept."order";
CREATE VIEW "Odd Schema"."We""ird.Name" WITH (security_barrier) AS SELECT id, "a.b", kept.lower_bound("Größe")::integer AS "Größe",
    "x y", "q""q", '***' AS "日本", type FROM kept."We""ird.Name";
CREATE VIEW tree WITH (security_barrier) AS SELECT id, parent_id, '***' || right(label, 2) AS label,
    kept.lower_bound(weight::numeric)::double precision AS weight
FROM kept.tree WHERE (parent_id IS NULL OR parent_id <> 3) AND label !~ '9$';
CREATE VIEW measured WITH (security_barrier) AS SELECT id, made, amount, '***' AS label FROM kept.measured WHERE made < '2026-02-10';
CREATE VIEW measured_old WITH (security_barrier) AS SELECT id, made, amount, '***' AS label FROM kept.measured_old WHERE made < '2026-02-10';
CREATE VIEW measured_new WITH (security_barrier) AS SELECT id, made, amount, '***' AS label FROM kept.measured_new WHERE made < '2026-02-10';
