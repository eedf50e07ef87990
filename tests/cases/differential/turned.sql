-- The same rows in the opposite order: a statement that now answers otherwise has an answer that depends on more than the data.
ALTER TABLE kept.note DROP CONSTRAINT note_item_id_fkey;
DO $$
DECLARE one regclass;
BEGIN
    FOREACH one IN ARRAY ARRAY['kept.item', 'kept.note', 'kept.account', 'kept.visit', 'kept."order"', 'kept."We""ird.Name"',
        'kept.tree', 'kept.measured_old', 'kept.measured_new']::regclass[]
    LOOP
        EXECUTE format('CREATE TEMPORARY TABLE held AS TABLE %s', one);
        EXECUTE format('DELETE FROM %s', one);
        EXECUTE format('INSERT INTO %s SELECT * FROM held ORDER BY id DESC', one);
        DROP TABLE held;
    END LOOP;
END $$;
VACUUM FULL;
ANALYZE;
