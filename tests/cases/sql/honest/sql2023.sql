-- title: select json_object('a': 1, 'b': 'x'), json_array(1, 2), json
select json_object('a': 1, 'b': 'x'), json_array(1, 2), json_arrayagg(id order by id), json_objectagg(id : name) from products where id < 3
-- title: select j.* from json_table('[{"a": 1, "b": [1, 2]}]'::jsonb,
select j.* from json_table('[{"a": 1, "b": [1, 2]}]'::jsonb, '$[*]' columns (n for ordinality, a int path '$.a', nested path '$.b[*]' columns (b int path '$'))) j order by b
-- title: select json_value('{"a": 1}', '$.a' returning int), json_exi
select json_value('{"a": 1}', '$.a' returning int), json_exists('{"a": 1}'::jsonb, '$.a'), json_query('{"a": [1]}', '$.a')
-- title: select any_value(1), array_shuffle(array[1]), random_normal(
select any_value(1), array_shuffle(array[1]), random_normal() is not null
-- title: select o.id from (select id from orders) as o order by 1 lim
select o.id from (select id from orders) as o order by 1 limit 1
-- title: select id from (select id from orders) order by 1 limit 1
select id from (select id from orders) order by 1 limit 1
-- title: select 0x1F, 1_000, 0b11
select 0x1F, 1_000, 0b11
-- title: select json_serialize('{"a": 1}'), json_scalar(1), json('{}'
select json_serialize('{"a": 1}'), json_scalar(1), json('{}')
