-- title: sixty joins
select count(*), sum(o60.id) from employees o0 join employees o1 on o1.id = o0.id join employees o2 on o2.id = o1.id join employees o3 on o3.id = o2.id join employees o4 on o4.id = o3.id join employees o5 on o5.id = o4.id join employees o6 on o6.id = o5.id join employees o7 on o7.id = o6.id join employees o8 on o8.id = o7.id join employees o9 on o9.id = o8.id join employees o10 on o10.id = o9.id join employees o11 on o11.id = o10.id join employees o12 on o12.id = o11.id join employees o13 on o13.id = o12.id join employees o14 on o14.id = o13.id join employees o15 on o15.id = o14.id join employees o16 on o16.id = o15.id join employees o17 on o17.id = o16.id join employees o18 on o18.id = o17.id join employees o19 on o19.id = o18.id join employees o20 on o20.id = o19.id join employees o21 on o21.id = o20.id join employees o22 on o22.id = o21.id join employees o23 on o23.id = o22.id join employees o24 on o24.id = o23.id join employees o25 on o25.id = o24.id join employees o26 on o26.id = o25.id join employees o27 on o27.id = o26.id join employees o28 on o28.id = o27.id join employees o29 on o29.id = o28.id join employees o30 on o30.id = o29.id join employees o31 on o31.id = o30.id join employees o32 on o32.id = o31.id join employees o33 on o33.id = o32.id join employees o34 on o34.id = o33.id join employees o35 on o35.id = o34.id join employees o36 on o36.id = o35.id join employees o37 on o37.id = o36.id join employees o38 on o38.id = o37.id join employees o39 on o39.id = o38.id join employees o40 on o40.id = o39.id join employees o41 on o41.id = o40.id join employees o42 on o42.id = o41.id join employees o43 on o43.id = o42.id join employees o44 on o44.id = o43.id join employees o45 on o45.id = o44.id join employees o46 on o46.id = o45.id join employees o47 on o47.id = o46.id join employees o48 on o48.id = o47.id join employees o49 on o49.id = o48.id join employees o50 on o50.id = o49.id join employees o51 on o51.id = o50.id join employees o52 on o52.id = o51.id join employees o53 on o53.id = o52.id join employees o54 on o54.id = o53.id join employees o55 on o55.id = o54.id join employees o56 on o56.id = o55.id join employees o57 on o57.id = o56.id join employees o58 on o58.id = o57.id join employees o59 on o59.id = o58.id join employees o60 on o60.id = o59.id
-- title: thirty left joins of different tables
select o.id, c0.city, c1.city, c2.city, c3.city, c4.city, c5.city, c6.city, c7.city, c8.city, c9.city, c10.city, c11.city, c12.city, c13.city, c14.city, c15.city, c16.city, c17.city, c18.city, c19.city, c20.city, c21.city, c22.city, c23.city, c24.city, c25.city, c26.city, c27.city, c28.city, c29.city from orders o left join customers c0 on c0.id = (o.customer_id + 0) % 60 left join customers c1 on c1.id = (o.customer_id + 1) % 60 left join customers c2 on c2.id = (o.customer_id + 2) % 60 left join customers c3 on c3.id = (o.customer_id + 3) % 60 left join customers c4 on c4.id = (o.customer_id + 4) % 60 left join customers c5 on c5.id = (o.customer_id + 5) % 60 left join customers c6 on c6.id = (o.customer_id + 6) % 60 left join customers c7 on c7.id = (o.customer_id + 7) % 60 left join customers c8 on c8.id = (o.customer_id + 8) % 60 left join customers c9 on c9.id = (o.customer_id + 9) % 60 left join customers c10 on c10.id = (o.customer_id + 10) % 60 left join customers c11 on c11.id = (o.customer_id + 11) % 60 left join customers c12 on c12.id = (o.customer_id + 12) % 60 left join customers c13 on c13.id = (o.customer_id + 13) % 60 left join customers c14 on c14.id = (o.customer_id + 14) % 60 left join customers c15 on c15.id = (o.customer_id + 15) % 60 left join customers c16 on c16.id = (o.customer_id + 16) % 60 left join customers c17 on c17.id = (o.customer_id + 17) % 60 left join customers c18 on c18.id = (o.customer_id + 18) % 60 left join customers c19 on c19.id = (o.customer_id + 19) % 60 left join customers c20 on c20.id = (o.customer_id + 20) % 60 left join customers c21 on c21.id = (o.customer_id + 21) % 60 left join customers c22 on c22.id = (o.customer_id + 22) % 60 left join customers c23 on c23.id = (o.customer_id + 23) % 60 left join customers c24 on c24.id = (o.customer_id + 24) % 60 left join customers c25 on c25.id = (o.customer_id + 25) % 60 left join customers c26 on c26.id = (o.customer_id + 26) % 60 left join customers c27 on c27.id = (o.customer_id + 27) % 60 left join customers c28 on c28.id = (o.customer_id + 28) % 60 left join customers c29 on c29.id = (o.customer_id + 29) % 60 order by o.id limit 5
-- title: a hundred arms of UNION ALL
select 0 as n, count(*) from orders where customer_id = 0 union all select 1 as n, count(*) from orders where customer_id = 1 union all select 2 as n, count(*) from orders where customer_id = 2 union all select 3 as n, count(*) from orders where customer_id = 3 union all select 4 as n, count(*) from orders where customer_id = 4 union all select 5 as n, count(*) from orders where customer_id = 5 union all select 6 as n, count(*) from orders where customer_id = 6 union all select 7 as n, count(*) from orders where customer_id = 7 union all select 8 as n, count(*) from orders where customer_id = 8 union all select 9 as n, count(*) from orders where customer_id = 9 union all select 10 as n, count(*) from orders where customer_id = 10 union all select 11 as n, count(*) from orders where customer_id = 11 union all select 12 as n, count(*) from orders where customer_id = 12 union all select 13 as n, count(*) from orders where customer_id = 13 union all select 14 as n, count(*) from orders where customer_id = 14 union all select 15 as n, count(*) from orders where customer_id = 15 union all select 16 as n, count(*) from orders where customer_id = 16 union all select 17 as n, count(*) from orders where customer_id = 17 union all select 18 as n, count(*) from orders where customer_id = 18 union all select 19 as n, count(*) from orders where customer_id = 19 union all select 20 as n, count(*) from orders where customer_id = 20 union all select 21 as n, count(*) from orders where customer_id = 21 union all select 22 as n, count(*) from orders where customer_id = 22 union all select 23 as n, count(*) from orders where customer_id = 23 union all select 24 as n, count(*) from orders where customer_id = 24 union all select 25 as n, count(*) from orders where customer_id = 25 union all select 26 as n, count(*) from orders where customer_id = 26 union all select 27 as n, count(*) from orders where customer_id = 27 union all select 28 as n, count(*) from orders where customer_id = 28 union all select 29 as n, count(*) from orders where customer_id = 29 union all select 30 as n, count(*) from orders where customer_id = 30 union all select 31 as n, count(*) from orders where customer_id = 31 union all select 32 as n, count(*) from orders where customer_id = 32 union all select 33 as n, count(*) from orders where customer_id = 33 union all select 34 as n, count(*) from orders where customer_id = 34 union all select 35 as n, count(*) from orders where customer_id = 35 union all select 36 as n, count(*) from orders where customer_id = 36 union all select 37 as n, count(*) from orders where customer_id = 37 union all select 38 as n, count(*) from orders where customer_id = 38 union all select 39 as n, count(*) from orders where customer_id = 39 union all select 40 as n, count(*) from orders where customer_id = 40 union all select 41 as n, count(*) from orders where customer_id = 41 union all select 42 as n, count(*) from orders where customer_id = 42 union all select 43 as n, count(*) from orders where customer_id = 43 union all select 44 as n, count(*) from orders where customer_id = 44 union all select 45 as n, count(*) from orders where customer_id = 45 union all select 46 as n, count(*) from orders where customer_id = 46 union all select 47 as n, count(*) from orders where customer_id = 47 union all select 48 as n, count(*) from orders where customer_id = 48 union all select 49 as n, count(*) from orders where customer_id = 49 union all select 50 as n, count(*) from orders where customer_id = 50 union all select 51 as n, count(*) from orders where customer_id = 51 union all select 52 as n, count(*) from orders where customer_id = 52 union all select 53 as n, count(*) from orders where customer_id = 53 union all select 54 as n, count(*) from orders where customer_id = 54 union all select 55 as n, count(*) from orders where customer_id = 55 union all select 56 as n, count(*) from orders where customer_id = 56 union all select 57 as n, count(*) from orders where customer_id = 57 union all select 58 as n, count(*) from orders where customer_id = 58 union all select 59 as n, count(*) from orders where customer_id = 59 union all select 60 as n, count(*) from orders where customer_id = 60 union all select 61 as n, count(*) from orders where customer_id = 61 union all select 62 as n, count(*) from orders where customer_id = 62 union all select 63 as n, count(*) from orders where customer_id = 63 union all select 64 as n, count(*) from orders where customer_id = 64 union all select 65 as n, count(*) from orders where customer_id = 65 union all select 66 as n, count(*) from orders where customer_id = 66 union all select 67 as n, count(*) from orders where customer_id = 67 union all select 68 as n, count(*) from orders where customer_id = 68 union all select 69 as n, count(*) from orders where customer_id = 69 union all select 70 as n, count(*) from orders where customer_id = 70 union all select 71 as n, count(*) from orders where customer_id = 71 union all select 72 as n, count(*) from orders where customer_id = 72 union all select 73 as n, count(*) from orders where customer_id = 73 union all select 74 as n, count(*) from orders where customer_id = 74 union all select 75 as n, count(*) from orders where customer_id = 75 union all select 76 as n, count(*) from orders where customer_id = 76 union all select 77 as n, count(*) from orders where customer_id = 77 union all select 78 as n, count(*) from orders where customer_id = 78 union all select 79 as n, count(*) from orders where customer_id = 79 union all select 80 as n, count(*) from orders where customer_id = 80 union all select 81 as n, count(*) from orders where customer_id = 81 union all select 82 as n, count(*) from orders where customer_id = 82 union all select 83 as n, count(*) from orders where customer_id = 83 union all select 84 as n, count(*) from orders where customer_id = 84 union all select 85 as n, count(*) from orders where customer_id = 85 union all select 86 as n, count(*) from orders where customer_id = 86 union all select 87 as n, count(*) from orders where customer_id = 87 union all select 88 as n, count(*) from orders where customer_id = 88 union all select 89 as n, count(*) from orders where customer_id = 89 union all select 90 as n, count(*) from orders where customer_id = 90 union all select 91 as n, count(*) from orders where customer_id = 91 union all select 92 as n, count(*) from orders where customer_id = 92 union all select 93 as n, count(*) from orders where customer_id = 93 union all select 94 as n, count(*) from orders where customer_id = 94 union all select 95 as n, count(*) from orders where customer_id = 95 union all select 96 as n, count(*) from orders where customer_id = 96 union all select 97 as n, count(*) from orders where customer_id = 97 union all select 98 as n, count(*) from orders where customer_id = 98 union all select 99 as n, count(*) from orders where customer_id = 99 order by n
-- title: a hundred arms of UNION
select id % 1 as n from orders where id < 50 union select id % 2 as n from orders where id < 50 union select id % 3 as n from orders where id < 50 union select id % 4 as n from orders where id < 50 union select id % 5 as n from orders where id < 50 union select id % 6 as n from orders where id < 50 union select id % 7 as n from orders where id < 50 union select id % 8 as n from orders where id < 50 union select id % 9 as n from orders where id < 50 union select id % 10 as n from orders where id < 50 union select id % 11 as n from orders where id < 50 union select id % 12 as n from orders where id < 50 union select id % 13 as n from orders where id < 50 union select id % 14 as n from orders where id < 50 union select id % 15 as n from orders where id < 50 union select id % 16 as n from orders where id < 50 union select id % 17 as n from orders where id < 50 union select id % 18 as n from orders where id < 50 union select id % 19 as n from orders where id < 50 union select id % 20 as n from orders where id < 50 union select id % 21 as n from orders where id < 50 union select id % 22 as n from orders where id < 50 union select id % 23 as n from orders where id < 50 union select id % 24 as n from orders where id < 50 union select id % 25 as n from orders where id < 50 union select id % 26 as n from orders where id < 50 union select id % 27 as n from orders where id < 50 union select id % 28 as n from orders where id < 50 union select id % 29 as n from orders where id < 50 union select id % 30 as n from orders where id < 50 union select id % 31 as n from orders where id < 50 union select id % 32 as n from orders where id < 50 union select id % 33 as n from orders where id < 50 union select id % 34 as n from orders where id < 50 union select id % 35 as n from orders where id < 50 union select id % 36 as n from orders where id < 50 union select id % 37 as n from orders where id < 50 union select id % 38 as n from orders where id < 50 union select id % 39 as n from orders where id < 50 union select id % 40 as n from orders where id < 50 union select id % 41 as n from orders where id < 50 union select id % 42 as n from orders where id < 50 union select id % 43 as n from orders where id < 50 union select id % 44 as n from orders where id < 50 union select id % 45 as n from orders where id < 50 union select id % 46 as n from orders where id < 50 union select id % 47 as n from orders where id < 50 union select id % 48 as n from orders where id < 50 union select id % 49 as n from orders where id < 50 union select id % 50 as n from orders where id < 50 union select id % 51 as n from orders where id < 50 union select id % 52 as n from orders where id < 50 union select id % 53 as n from orders where id < 50 union select id % 54 as n from orders where id < 50 union select id % 55 as n from orders where id < 50 union select id % 56 as n from orders where id < 50 union select id % 57 as n from orders where id < 50 union select id % 58 as n from orders where id < 50 union select id % 59 as n from orders where id < 50 union select id % 60 as n from orders where id < 50 union select id % 61 as n from orders where id < 50 union select id % 62 as n from orders where id < 50 union select id % 63 as n from orders where id < 50 union select id % 64 as n from orders where id < 50 union select id % 65 as n from orders where id < 50 union select id % 66 as n from orders where id < 50 union select id % 67 as n from orders where id < 50 union select id % 68 as n from orders where id < 50 union select id % 69 as n from orders where id < 50 union select id % 70 as n from orders where id < 50 union select id % 71 as n from orders where id < 50 union select id % 72 as n from orders where id < 50 union select id % 73 as n from orders where id < 50 union select id % 74 as n from orders where id < 50 union select id % 75 as n from orders where id < 50 union select id % 76 as n from orders where id < 50 union select id % 77 as n from orders where id < 50 union select id % 78 as n from orders where id < 50 union select id % 79 as n from orders where id < 50 union select id % 80 as n from orders where id < 50 union select id % 81 as n from orders where id < 50 union select id % 82 as n from orders where id < 50 union select id % 83 as n from orders where id < 50 union select id % 84 as n from orders where id < 50 union select id % 85 as n from orders where id < 50 union select id % 86 as n from orders where id < 50 union select id % 87 as n from orders where id < 50 union select id % 88 as n from orders where id < 50 union select id % 89 as n from orders where id < 50 union select id % 90 as n from orders where id < 50 union select id % 91 as n from orders where id < 50 union select id % 92 as n from orders where id < 50 union select id % 93 as n from orders where id < 50 union select id % 94 as n from orders where id < 50 union select id % 95 as n from orders where id < 50 union select id % 96 as n from orders where id < 50 union select id % 97 as n from orders where id < 50 union select id % 98 as n from orders where id < 50 union select id % 99 as n from orders where id < 50 union select id % 100 as n from orders where id < 50 order by n
-- title: thirty nested subselects
select s29.id, s29.total from (select s28.id, s28.total from (select s27.id, s27.total from (select s26.id, s26.total from (select s25.id, s25.total from (select s24.id, s24.total from (select s23.id, s23.total from (select s22.id, s22.total from (select s21.id, s21.total from (select s20.id, s20.total from (select s19.id, s19.total from (select s18.id, s18.total from (select s17.id, s17.total from (select s16.id, s16.total from (select s15.id, s15.total from (select s14.id, s14.total from (select s13.id, s13.total from (select s12.id, s12.total from (select s11.id, s11.total from (select s10.id, s10.total from (select s9.id, s9.total from (select s8.id, s8.total from (select s7.id, s7.total from (select s6.id, s6.total from (select s5.id, s5.total from (select s4.id, s4.total from (select s3.id, s3.total from (select s2.id, s2.total from (select s1.id, s1.total from (select s0.id, s0.total from (select id, total from orders where id < 40) s0 where s0.id > 0) s1 where s1.id > 1) s2 where s2.id > 2) s3 where s3.id > 3) s4 where s4.id > 4) s5 where s5.id > 5) s6 where s6.id > 6) s7 where s7.id > 7) s8 where s8.id > 8) s9 where s9.id > 9) s10 where s10.id > 10) s11 where s11.id > 11) s12 where s12.id > 12) s13 where s13.id > 13) s14 where s14.id > 14) s15 where s15.id > 15) s16 where s16.id > 16) s17 where s17.id > 17) s18 where s18.id > 18) s19 where s19.id > 19) s20 where s20.id > 20) s21 where s21.id > 21) s22 where s22.id > 22) s23 where s23.id > 23) s24 where s24.id > 24) s25 where s25.id > 25) s26 where s26.id > 26) s27 where s27.id > 27) s28 where s28.id > 28) s29 where s29.id > 29 order by 1
-- title: thirty nested scalar subselects
select (select (select (select (select (select (select (select (select (select (select (select (select (select (select (select (select (select (select (select (select (select (select (select (select (select (select (select (select (select (select max(id) from orders) + 1) + 1) + 1) + 1) + 1) + 1) + 1) + 1) + 1) + 1) + 1) + 1) + 1) + 1) + 1) + 1) + 1) + 1) + 1) + 1) + 1) + 1) + 1) + 1) + 1) + 1) + 1) + 1) + 1) + 1
-- title: a hundred concatenations
select name || '0' || '1' || '2' || '3' || '4' || '5' || '6' || '7' || '8' || '9' || '10' || '11' || '12' || '13' || '14' || '15' || '16' || '17' || '18' || '19' || '20' || '21' || '22' || '23' || '24' || '25' || '26' || '27' || '28' || '29' || '30' || '31' || '32' || '33' || '34' || '35' || '36' || '37' || '38' || '39' || '40' || '41' || '42' || '43' || '44' || '45' || '46' || '47' || '48' || '49' || '50' || '51' || '52' || '53' || '54' || '55' || '56' || '57' || '58' || '59' || '60' || '61' || '62' || '63' || '64' || '65' || '66' || '67' || '68' || '69' || '70' || '71' || '72' || '73' || '74' || '75' || '76' || '77' || '78' || '79' || '80' || '81' || '82' || '83' || '84' || '85' || '86' || '87' || '88' || '89' || '90' || '91' || '92' || '93' || '94' || '95' || '96' || '97' || '98' || '99' from customers order by id limit 3
-- title: two hundred additions
select total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total + total from orders where id = 7
-- title: two hundred conditions
select count(*) from orders where id <> 0 and id <> 1 and id <> 2 and id <> 3 and id <> 4 and id <> 5 and id <> 6 and id <> 7 and id <> 8 and id <> 9 and id <> 10 and id <> 11 and id <> 12 and id <> 13 and id <> 14 and id <> 15 and id <> 16 and id <> 17 and id <> 18 and id <> 19 and id <> 20 and id <> 21 and id <> 22 and id <> 23 and id <> 24 and id <> 25 and id <> 26 and id <> 27 and id <> 28 and id <> 29 and id <> 30 and id <> 31 and id <> 32 and id <> 33 and id <> 34 and id <> 35 and id <> 36 and id <> 37 and id <> 38 and id <> 39 and id <> 40 and id <> 41 and id <> 42 and id <> 43 and id <> 44 and id <> 45 and id <> 46 and id <> 47 and id <> 48 and id <> 49 and id <> 50 and id <> 51 and id <> 52 and id <> 53 and id <> 54 and id <> 55 and id <> 56 and id <> 57 and id <> 58 and id <> 59 and id <> 60 and id <> 61 and id <> 62 and id <> 63 and id <> 64 and id <> 65 and id <> 66 and id <> 67 and id <> 68 and id <> 69 and id <> 70 and id <> 71 and id <> 72 and id <> 73 and id <> 74 and id <> 75 and id <> 76 and id <> 77 and id <> 78 and id <> 79 and id <> 80 and id <> 81 and id <> 82 and id <> 83 and id <> 84 and id <> 85 and id <> 86 and id <> 87 and id <> 88 and id <> 89 and id <> 90 and id <> 91 and id <> 92 and id <> 93 and id <> 94 and id <> 95 and id <> 96 and id <> 97 and id <> 98 and id <> 99 and id <> 100 and id <> 101 and id <> 102 and id <> 103 and id <> 104 and id <> 105 and id <> 106 and id <> 107 and id <> 108 and id <> 109 and id <> 110 and id <> 111 and id <> 112 and id <> 113 and id <> 114 and id <> 115 and id <> 116 and id <> 117 and id <> 118 and id <> 119 and id <> 120 and id <> 121 and id <> 122 and id <> 123 and id <> 124 and id <> 125 and id <> 126 and id <> 127 and id <> 128 and id <> 129 and id <> 130 and id <> 131 and id <> 132 and id <> 133 and id <> 134 and id <> 135 and id <> 136 and id <> 137 and id <> 138 and id <> 139 and id <> 140 and id <> 141 and id <> 142 and id <> 143 and id <> 144 and id <> 145 and id <> 146 and id <> 147 and id <> 148 and id <> 149 and id <> 150 and id <> 151 and id <> 152 and id <> 153 and id <> 154 and id <> 155 and id <> 156 and id <> 157 and id <> 158 and id <> 159 and id <> 160 and id <> 161 and id <> 162 and id <> 163 and id <> 164 and id <> 165 and id <> 166 and id <> 167 and id <> 168 and id <> 169 and id <> 170 and id <> 171 and id <> 172 and id <> 173 and id <> 174 and id <> 175 and id <> 176 and id <> 177 and id <> 178 and id <> 179 and id <> 180 and id <> 181 and id <> 182 and id <> 183 and id <> 184 and id <> 185 and id <> 186 and id <> 187 and id <> 188 and id <> 189 and id <> 190 and id <> 191 and id <> 192 and id <> 193 and id <> 194 and id <> 195 and id <> 196 and id <> 197 and id <> 198 and id <> 199
-- title: two hundred alternatives
select count(*) from orders where (id = 0 and total > 0) or (id = 1 and total > 1) or (id = 2 and total > 2) or (id = 3 and total > 3) or (id = 4 and total > 4) or (id = 5 and total > 0) or (id = 6 and total > 1) or (id = 7 and total > 2) or (id = 8 and total > 3) or (id = 9 and total > 4) or (id = 10 and total > 0) or (id = 11 and total > 1) or (id = 12 and total > 2) or (id = 13 and total > 3) or (id = 14 and total > 4) or (id = 15 and total > 0) or (id = 16 and total > 1) or (id = 17 and total > 2) or (id = 18 and total > 3) or (id = 19 and total > 4) or (id = 20 and total > 0) or (id = 21 and total > 1) or (id = 22 and total > 2) or (id = 23 and total > 3) or (id = 24 and total > 4) or (id = 25 and total > 0) or (id = 26 and total > 1) or (id = 27 and total > 2) or (id = 28 and total > 3) or (id = 29 and total > 4) or (id = 30 and total > 0) or (id = 31 and total > 1) or (id = 32 and total > 2) or (id = 33 and total > 3) or (id = 34 and total > 4) or (id = 35 and total > 0) or (id = 36 and total > 1) or (id = 37 and total > 2) or (id = 38 and total > 3) or (id = 39 and total > 4) or (id = 40 and total > 0) or (id = 41 and total > 1) or (id = 42 and total > 2) or (id = 43 and total > 3) or (id = 44 and total > 4) or (id = 45 and total > 0) or (id = 46 and total > 1) or (id = 47 and total > 2) or (id = 48 and total > 3) or (id = 49 and total > 4) or (id = 50 and total > 0) or (id = 51 and total > 1) or (id = 52 and total > 2) or (id = 53 and total > 3) or (id = 54 and total > 4) or (id = 55 and total > 0) or (id = 56 and total > 1) or (id = 57 and total > 2) or (id = 58 and total > 3) or (id = 59 and total > 4) or (id = 60 and total > 0) or (id = 61 and total > 1) or (id = 62 and total > 2) or (id = 63 and total > 3) or (id = 64 and total > 4) or (id = 65 and total > 0) or (id = 66 and total > 1) or (id = 67 and total > 2) or (id = 68 and total > 3) or (id = 69 and total > 4) or (id = 70 and total > 0) or (id = 71 and total > 1) or (id = 72 and total > 2) or (id = 73 and total > 3) or (id = 74 and total > 4) or (id = 75 and total > 0) or (id = 76 and total > 1) or (id = 77 and total > 2) or (id = 78 and total > 3) or (id = 79 and total > 4) or (id = 80 and total > 0) or (id = 81 and total > 1) or (id = 82 and total > 2) or (id = 83 and total > 3) or (id = 84 and total > 4) or (id = 85 and total > 0) or (id = 86 and total > 1) or (id = 87 and total > 2) or (id = 88 and total > 3) or (id = 89 and total > 4) or (id = 90 and total > 0) or (id = 91 and total > 1) or (id = 92 and total > 2) or (id = 93 and total > 3) or (id = 94 and total > 4) or (id = 95 and total > 0) or (id = 96 and total > 1) or (id = 97 and total > 2) or (id = 98 and total > 3) or (id = 99 and total > 4) or (id = 100 and total > 0) or (id = 101 and total > 1) or (id = 102 and total > 2) or (id = 103 and total > 3) or (id = 104 and total > 4) or (id = 105 and total > 0) or (id = 106 and total > 1) or (id = 107 and total > 2) or (id = 108 and total > 3) or (id = 109 and total > 4) or (id = 110 and total > 0) or (id = 111 and total > 1) or (id = 112 and total > 2) or (id = 113 and total > 3) or (id = 114 and total > 4) or (id = 115 and total > 0) or (id = 116 and total > 1) or (id = 117 and total > 2) or (id = 118 and total > 3) or (id = 119 and total > 4) or (id = 120 and total > 0) or (id = 121 and total > 1) or (id = 122 and total > 2) or (id = 123 and total > 3) or (id = 124 and total > 4) or (id = 125 and total > 0) or (id = 126 and total > 1) or (id = 127 and total > 2) or (id = 128 and total > 3) or (id = 129 and total > 4) or (id = 130 and total > 0) or (id = 131 and total > 1) or (id = 132 and total > 2) or (id = 133 and total > 3) or (id = 134 and total > 4) or (id = 135 and total > 0) or (id = 136 and total > 1) or (id = 137 and total > 2) or (id = 138 and total > 3) or (id = 139 and total > 4) or (id = 140 and total > 0) or (id = 141 and total > 1) or (id = 142 and total > 2) or (id = 143 and total > 3) or (id = 144 and total > 4) or (id = 145 and total > 0) or (id = 146 and total > 1) or (id = 147 and total > 2) or (id = 148 and total > 3) or (id = 149 and total > 4) or (id = 150 and total > 0) or (id = 151 and total > 1) or (id = 152 and total > 2) or (id = 153 and total > 3) or (id = 154 and total > 4) or (id = 155 and total > 0) or (id = 156 and total > 1) or (id = 157 and total > 2) or (id = 158 and total > 3) or (id = 159 and total > 4) or (id = 160 and total > 0) or (id = 161 and total > 1) or (id = 162 and total > 2) or (id = 163 and total > 3) or (id = 164 and total > 4) or (id = 165 and total > 0) or (id = 166 and total > 1) or (id = 167 and total > 2) or (id = 168 and total > 3) or (id = 169 and total > 4) or (id = 170 and total > 0) or (id = 171 and total > 1) or (id = 172 and total > 2) or (id = 173 and total > 3) or (id = 174 and total > 4) or (id = 175 and total > 0) or (id = 176 and total > 1) or (id = 177 and total > 2) or (id = 178 and total > 3) or (id = 179 and total > 4) or (id = 180 and total > 0) or (id = 181 and total > 1) or (id = 182 and total > 2) or (id = 183 and total > 3) or (id = 184 and total > 4) or (id = 185 and total > 0) or (id = 186 and total > 1) or (id = 187 and total > 2) or (id = 188 and total > 3) or (id = 189 and total > 4) or (id = 190 and total > 0) or (id = 191 and total > 1) or (id = 192 and total > 2) or (id = 193 and total > 3) or (id = 194 and total > 4) or (id = 195 and total > 0) or (id = 196 and total > 1) or (id = 197 and total > 2) or (id = 198 and total > 3) or (id = 199 and total > 4)
-- title: five hundred values in a list
select count(*) from orders where id in (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 63, 64, 65, 66, 67, 68, 69, 70, 71, 72, 73, 74, 75, 76, 77, 78, 79, 80, 81, 82, 83, 84, 85, 86, 87, 88, 89, 90, 91, 92, 93, 94, 95, 96, 97, 98, 99, 100, 101, 102, 103, 104, 105, 106, 107, 108, 109, 110, 111, 112, 113, 114, 115, 116, 117, 118, 119, 120, 121, 122, 123, 124, 125, 126, 127, 128, 129, 130, 131, 132, 133, 134, 135, 136, 137, 138, 139, 140, 141, 142, 143, 144, 145, 146, 147, 148, 149, 150, 151, 152, 153, 154, 155, 156, 157, 158, 159, 160, 161, 162, 163, 164, 165, 166, 167, 168, 169, 170, 171, 172, 173, 174, 175, 176, 177, 178, 179, 180, 181, 182, 183, 184, 185, 186, 187, 188, 189, 190, 191, 192, 193, 194, 195, 196, 197, 198, 199, 200, 201, 202, 203, 204, 205, 206, 207, 208, 209, 210, 211, 212, 213, 214, 215, 216, 217, 218, 219, 220, 221, 222, 223, 224, 225, 226, 227, 228, 229, 230, 231, 232, 233, 234, 235, 236, 237, 238, 239, 240, 241, 242, 243, 244, 245, 246, 247, 248, 249, 250, 251, 252, 253, 254, 255, 256, 257, 258, 259, 260, 261, 262, 263, 264, 265, 266, 267, 268, 269, 270, 271, 272, 273, 274, 275, 276, 277, 278, 279, 280, 281, 282, 283, 284, 285, 286, 287, 288, 289, 290, 291, 292, 293, 294, 295, 296, 297, 298, 299, 300, 301, 302, 303, 304, 305, 306, 307, 308, 309, 310, 311, 312, 313, 314, 315, 316, 317, 318, 319, 320, 321, 322, 323, 324, 325, 326, 327, 328, 329, 330, 331, 332, 333, 334, 335, 336, 337, 338, 339, 340, 341, 342, 343, 344, 345, 346, 347, 348, 349, 350, 351, 352, 353, 354, 355, 356, 357, 358, 359, 360, 361, 362, 363, 364, 365, 366, 367, 368, 369, 370, 371, 372, 373, 374, 375, 376, 377, 378, 379, 380, 381, 382, 383, 384, 385, 386, 387, 388, 389, 390, 391, 392, 393, 394, 395, 396, 397, 398, 399, 400, 401, 402, 403, 404, 405, 406, 407, 408, 409, 410, 411, 412, 413, 414, 415, 416, 417, 418, 419, 420, 421, 422, 423, 424, 425, 426, 427, 428, 429, 430, 431, 432, 433, 434, 435, 436, 437, 438, 439, 440, 441, 442, 443, 444, 445, 446, 447, 448, 449, 450, 451, 452, 453, 454, 455, 456, 457, 458, 459, 460, 461, 462, 463, 464, 465, 466, 467, 468, 469, 470, 471, 472, 473, 474, 475, 476, 477, 478, 479, 480, 481, 482, 483, 484, 485, 486, 487, 488, 489, 490, 491, 492, 493, 494, 495, 496, 497, 498, 499)
-- title: three hundred rows of VALUES
select sum(a), max(b) from (values (0, 'v0'), (1, 'v1'), (2, 'v2'), (3, 'v3'), (4, 'v4'), (5, 'v5'), (6, 'v6'), (7, 'v7'), (8, 'v8'), (9, 'v9'), (10, 'v10'), (11, 'v11'), (12, 'v12'), (13, 'v13'), (14, 'v14'), (15, 'v15'), (16, 'v16'), (17, 'v17'), (18, 'v18'), (19, 'v19'), (20, 'v20'), (21, 'v21'), (22, 'v22'), (23, 'v23'), (24, 'v24'), (25, 'v25'), (26, 'v26'), (27, 'v27'), (28, 'v28'), (29, 'v29'), (30, 'v30'), (31, 'v31'), (32, 'v32'), (33, 'v33'), (34, 'v34'), (35, 'v35'), (36, 'v36'), (37, 'v37'), (38, 'v38'), (39, 'v39'), (40, 'v40'), (41, 'v41'), (42, 'v42'), (43, 'v43'), (44, 'v44'), (45, 'v45'), (46, 'v46'), (47, 'v47'), (48, 'v48'), (49, 'v49'), (50, 'v50'), (51, 'v51'), (52, 'v52'), (53, 'v53'), (54, 'v54'), (55, 'v55'), (56, 'v56'), (57, 'v57'), (58, 'v58'), (59, 'v59'), (60, 'v60'), (61, 'v61'), (62, 'v62'), (63, 'v63'), (64, 'v64'), (65, 'v65'), (66, 'v66'), (67, 'v67'), (68, 'v68'), (69, 'v69'), (70, 'v70'), (71, 'v71'), (72, 'v72'), (73, 'v73'), (74, 'v74'), (75, 'v75'), (76, 'v76'), (77, 'v77'), (78, 'v78'), (79, 'v79'), (80, 'v80'), (81, 'v81'), (82, 'v82'), (83, 'v83'), (84, 'v84'), (85, 'v85'), (86, 'v86'), (87, 'v87'), (88, 'v88'), (89, 'v89'), (90, 'v90'), (91, 'v91'), (92, 'v92'), (93, 'v93'), (94, 'v94'), (95, 'v95'), (96, 'v96'), (97, 'v97'), (98, 'v98'), (99, 'v99'), (100, 'v100'), (101, 'v101'), (102, 'v102'), (103, 'v103'), (104, 'v104'), (105, 'v105'), (106, 'v106'), (107, 'v107'), (108, 'v108'), (109, 'v109'), (110, 'v110'), (111, 'v111'), (112, 'v112'), (113, 'v113'), (114, 'v114'), (115, 'v115'), (116, 'v116'), (117, 'v117'), (118, 'v118'), (119, 'v119'), (120, 'v120'), (121, 'v121'), (122, 'v122'), (123, 'v123'), (124, 'v124'), (125, 'v125'), (126, 'v126'), (127, 'v127'), (128, 'v128'), (129, 'v129'), (130, 'v130'), (131, 'v131'), (132, 'v132'), (133, 'v133'), (134, 'v134'), (135, 'v135'), (136, 'v136'), (137, 'v137'), (138, 'v138'), (139, 'v139'), (140, 'v140'), (141, 'v141'), (142, 'v142'), (143, 'v143'), (144, 'v144'), (145, 'v145'), (146, 'v146'), (147, 'v147'), (148, 'v148'), (149, 'v149'), (150, 'v150'), (151, 'v151'), (152, 'v152'), (153, 'v153'), (154, 'v154'), (155, 'v155'), (156, 'v156'), (157, 'v157'), (158, 'v158'), (159, 'v159'), (160, 'v160'), (161, 'v161'), (162, 'v162'), (163, 'v163'), (164, 'v164'), (165, 'v165'), (166, 'v166'), (167, 'v167'), (168, 'v168'), (169, 'v169'), (170, 'v170'), (171, 'v171'), (172, 'v172'), (173, 'v173'), (174, 'v174'), (175, 'v175'), (176, 'v176'), (177, 'v177'), (178, 'v178'), (179, 'v179'), (180, 'v180'), (181, 'v181'), (182, 'v182'), (183, 'v183'), (184, 'v184'), (185, 'v185'), (186, 'v186'), (187, 'v187'), (188, 'v188'), (189, 'v189'), (190, 'v190'), (191, 'v191'), (192, 'v192'), (193, 'v193'), (194, 'v194'), (195, 'v195'), (196, 'v196'), (197, 'v197'), (198, 'v198'), (199, 'v199'), (200, 'v200'), (201, 'v201'), (202, 'v202'), (203, 'v203'), (204, 'v204'), (205, 'v205'), (206, 'v206'), (207, 'v207'), (208, 'v208'), (209, 'v209'), (210, 'v210'), (211, 'v211'), (212, 'v212'), (213, 'v213'), (214, 'v214'), (215, 'v215'), (216, 'v216'), (217, 'v217'), (218, 'v218'), (219, 'v219'), (220, 'v220'), (221, 'v221'), (222, 'v222'), (223, 'v223'), (224, 'v224'), (225, 'v225'), (226, 'v226'), (227, 'v227'), (228, 'v228'), (229, 'v229'), (230, 'v230'), (231, 'v231'), (232, 'v232'), (233, 'v233'), (234, 'v234'), (235, 'v235'), (236, 'v236'), (237, 'v237'), (238, 'v238'), (239, 'v239'), (240, 'v240'), (241, 'v241'), (242, 'v242'), (243, 'v243'), (244, 'v244'), (245, 'v245'), (246, 'v246'), (247, 'v247'), (248, 'v248'), (249, 'v249'), (250, 'v250'), (251, 'v251'), (252, 'v252'), (253, 'v253'), (254, 'v254'), (255, 'v255'), (256, 'v256'), (257, 'v257'), (258, 'v258'), (259, 'v259'), (260, 'v260'), (261, 'v261'), (262, 'v262'), (263, 'v263'), (264, 'v264'), (265, 'v265'), (266, 'v266'), (267, 'v267'), (268, 'v268'), (269, 'v269'), (270, 'v270'), (271, 'v271'), (272, 'v272'), (273, 'v273'), (274, 'v274'), (275, 'v275'), (276, 'v276'), (277, 'v277'), (278, 'v278'), (279, 'v279'), (280, 'v280'), (281, 'v281'), (282, 'v282'), (283, 'v283'), (284, 'v284'), (285, 'v285'), (286, 'v286'), (287, 'v287'), (288, 'v288'), (289, 'v289'), (290, 'v290'), (291, 'v291'), (292, 'v292'), (293, 'v293'), (294, 'v294'), (295, 'v295'), (296, 'v296'), (297, 'v297'), (298, 'v298'), (299, 'v299')) v(a, b)
-- title: a CASE of a hundred branches
select id, case when id = 0 then 'n0' when id = 1 then 'n1' when id = 2 then 'n2' when id = 3 then 'n3' when id = 4 then 'n4' when id = 5 then 'n5' when id = 6 then 'n6' when id = 7 then 'n7' when id = 8 then 'n8' when id = 9 then 'n9' when id = 10 then 'n10' when id = 11 then 'n11' when id = 12 then 'n12' when id = 13 then 'n13' when id = 14 then 'n14' when id = 15 then 'n15' when id = 16 then 'n16' when id = 17 then 'n17' when id = 18 then 'n18' when id = 19 then 'n19' when id = 20 then 'n20' when id = 21 then 'n21' when id = 22 then 'n22' when id = 23 then 'n23' when id = 24 then 'n24' when id = 25 then 'n25' when id = 26 then 'n26' when id = 27 then 'n27' when id = 28 then 'n28' when id = 29 then 'n29' when id = 30 then 'n30' when id = 31 then 'n31' when id = 32 then 'n32' when id = 33 then 'n33' when id = 34 then 'n34' when id = 35 then 'n35' when id = 36 then 'n36' when id = 37 then 'n37' when id = 38 then 'n38' when id = 39 then 'n39' when id = 40 then 'n40' when id = 41 then 'n41' when id = 42 then 'n42' when id = 43 then 'n43' when id = 44 then 'n44' when id = 45 then 'n45' when id = 46 then 'n46' when id = 47 then 'n47' when id = 48 then 'n48' when id = 49 then 'n49' when id = 50 then 'n50' when id = 51 then 'n51' when id = 52 then 'n52' when id = 53 then 'n53' when id = 54 then 'n54' when id = 55 then 'n55' when id = 56 then 'n56' when id = 57 then 'n57' when id = 58 then 'n58' when id = 59 then 'n59' when id = 60 then 'n60' when id = 61 then 'n61' when id = 62 then 'n62' when id = 63 then 'n63' when id = 64 then 'n64' when id = 65 then 'n65' when id = 66 then 'n66' when id = 67 then 'n67' when id = 68 then 'n68' when id = 69 then 'n69' when id = 70 then 'n70' when id = 71 then 'n71' when id = 72 then 'n72' when id = 73 then 'n73' when id = 74 then 'n74' when id = 75 then 'n75' when id = 76 then 'n76' when id = 77 then 'n77' when id = 78 then 'n78' when id = 79 then 'n79' when id = 80 then 'n80' when id = 81 then 'n81' when id = 82 then 'n82' when id = 83 then 'n83' when id = 84 then 'n84' when id = 85 then 'n85' when id = 86 then 'n86' when id = 87 then 'n87' when id = 88 then 'n88' when id = 89 then 'n89' when id = 90 then 'n90' when id = 91 then 'n91' when id = 92 then 'n92' when id = 93 then 'n93' when id = 94 then 'n94' when id = 95 then 'n95' when id = 96 then 'n96' when id = 97 then 'n97' when id = 98 then 'n98' when id = 99 then 'n99' else 'rest' end from orders order by id limit 8
-- title: two hundred columns
select total * 0 as c0, total * 1 as c1, total * 2 as c2, total * 3 as c3, total * 4 as c4, total * 5 as c5, total * 6 as c6, total * 7 as c7, total * 8 as c8, total * 9 as c9, total * 10 as c10, total * 11 as c11, total * 12 as c12, total * 13 as c13, total * 14 as c14, total * 15 as c15, total * 16 as c16, total * 17 as c17, total * 18 as c18, total * 19 as c19, total * 20 as c20, total * 21 as c21, total * 22 as c22, total * 23 as c23, total * 24 as c24, total * 25 as c25, total * 26 as c26, total * 27 as c27, total * 28 as c28, total * 29 as c29, total * 30 as c30, total * 31 as c31, total * 32 as c32, total * 33 as c33, total * 34 as c34, total * 35 as c35, total * 36 as c36, total * 37 as c37, total * 38 as c38, total * 39 as c39, total * 40 as c40, total * 41 as c41, total * 42 as c42, total * 43 as c43, total * 44 as c44, total * 45 as c45, total * 46 as c46, total * 47 as c47, total * 48 as c48, total * 49 as c49, total * 50 as c50, total * 51 as c51, total * 52 as c52, total * 53 as c53, total * 54 as c54, total * 55 as c55, total * 56 as c56, total * 57 as c57, total * 58 as c58, total * 59 as c59, total * 60 as c60, total * 61 as c61, total * 62 as c62, total * 63 as c63, total * 64 as c64, total * 65 as c65, total * 66 as c66, total * 67 as c67, total * 68 as c68, total * 69 as c69, total * 70 as c70, total * 71 as c71, total * 72 as c72, total * 73 as c73, total * 74 as c74, total * 75 as c75, total * 76 as c76, total * 77 as c77, total * 78 as c78, total * 79 as c79, total * 80 as c80, total * 81 as c81, total * 82 as c82, total * 83 as c83, total * 84 as c84, total * 85 as c85, total * 86 as c86, total * 87 as c87, total * 88 as c88, total * 89 as c89, total * 90 as c90, total * 91 as c91, total * 92 as c92, total * 93 as c93, total * 94 as c94, total * 95 as c95, total * 96 as c96, total * 97 as c97, total * 98 as c98, total * 99 as c99, total * 100 as c100, total * 101 as c101, total * 102 as c102, total * 103 as c103, total * 104 as c104, total * 105 as c105, total * 106 as c106, total * 107 as c107, total * 108 as c108, total * 109 as c109, total * 110 as c110, total * 111 as c111, total * 112 as c112, total * 113 as c113, total * 114 as c114, total * 115 as c115, total * 116 as c116, total * 117 as c117, total * 118 as c118, total * 119 as c119, total * 120 as c120, total * 121 as c121, total * 122 as c122, total * 123 as c123, total * 124 as c124, total * 125 as c125, total * 126 as c126, total * 127 as c127, total * 128 as c128, total * 129 as c129, total * 130 as c130, total * 131 as c131, total * 132 as c132, total * 133 as c133, total * 134 as c134, total * 135 as c135, total * 136 as c136, total * 137 as c137, total * 138 as c138, total * 139 as c139, total * 140 as c140, total * 141 as c141, total * 142 as c142, total * 143 as c143, total * 144 as c144, total * 145 as c145, total * 146 as c146, total * 147 as c147, total * 148 as c148, total * 149 as c149, total * 150 as c150, total * 151 as c151, total * 152 as c152, total * 153 as c153, total * 154 as c154, total * 155 as c155, total * 156 as c156, total * 157 as c157, total * 158 as c158, total * 159 as c159, total * 160 as c160, total * 161 as c161, total * 162 as c162, total * 163 as c163, total * 164 as c164, total * 165 as c165, total * 166 as c166, total * 167 as c167, total * 168 as c168, total * 169 as c169, total * 170 as c170, total * 171 as c171, total * 172 as c172, total * 173 as c173, total * 174 as c174, total * 175 as c175, total * 176 as c176, total * 177 as c177, total * 178 as c178, total * 179 as c179, total * 180 as c180, total * 181 as c181, total * 182 as c182, total * 183 as c183, total * 184 as c184, total * 185 as c185, total * 186 as c186, total * 187 as c187, total * 188 as c188, total * 189 as c189, total * 190 as c190, total * 191 as c191, total * 192 as c192, total * 193 as c193, total * 194 as c194, total * 195 as c195, total * 196 as c196, total * 197 as c197, total * 198 as c198, total * 199 as c199 from orders where id = 3
-- title: forty WITH queries
with w0 as (select id, total from orders), w1 as (select id, total + 1 as total from w0 where id <> 1), w2 as (select id, total + 2 as total from w1 where id <> 2), w3 as (select id, total + 3 as total from w2 where id <> 3), w4 as (select id, total + 4 as total from w3 where id <> 4), w5 as (select id, total + 5 as total from w4 where id <> 5), w6 as (select id, total + 6 as total from w5 where id <> 6), w7 as (select id, total + 7 as total from w6 where id <> 7), w8 as (select id, total + 8 as total from w7 where id <> 8), w9 as (select id, total + 9 as total from w8 where id <> 9), w10 as (select id, total + 10 as total from w9 where id <> 10), w11 as (select id, total + 11 as total from w10 where id <> 11), w12 as (select id, total + 12 as total from w11 where id <> 12), w13 as (select id, total + 13 as total from w12 where id <> 13), w14 as (select id, total + 14 as total from w13 where id <> 14), w15 as (select id, total + 15 as total from w14 where id <> 15), w16 as (select id, total + 16 as total from w15 where id <> 16), w17 as (select id, total + 17 as total from w16 where id <> 17), w18 as (select id, total + 18 as total from w17 where id <> 18), w19 as (select id, total + 19 as total from w18 where id <> 19), w20 as (select id, total + 20 as total from w19 where id <> 20), w21 as (select id, total + 21 as total from w20 where id <> 21), w22 as (select id, total + 22 as total from w21 where id <> 22), w23 as (select id, total + 23 as total from w22 where id <> 23), w24 as (select id, total + 24 as total from w23 where id <> 24), w25 as (select id, total + 25 as total from w24 where id <> 25), w26 as (select id, total + 26 as total from w25 where id <> 26), w27 as (select id, total + 27 as total from w26 where id <> 27), w28 as (select id, total + 28 as total from w27 where id <> 28), w29 as (select id, total + 29 as total from w28 where id <> 29), w30 as (select id, total + 30 as total from w29 where id <> 30), w31 as (select id, total + 31 as total from w30 where id <> 31), w32 as (select id, total + 32 as total from w31 where id <> 32), w33 as (select id, total + 33 as total from w32 where id <> 33), w34 as (select id, total + 34 as total from w33 where id <> 34), w35 as (select id, total + 35 as total from w34 where id <> 35), w36 as (select id, total + 36 as total from w35 where id <> 36), w37 as (select id, total + 37 as total from w36 where id <> 37), w38 as (select id, total + 38 as total from w37 where id <> 38), w39 as (select id, total + 39 as total from w38 where id <> 39) select count(*), sum(total) from w39
-- title: forty nested function calls
select coalesce(coalesce(coalesce(coalesce(coalesce(coalesce(coalesce(coalesce(coalesce(coalesce(coalesce(coalesce(coalesce(coalesce(coalesce(coalesce(coalesce(coalesce(coalesce(coalesce(coalesce(coalesce(coalesce(coalesce(coalesce(coalesce(coalesce(coalesce(coalesce(coalesce(coalesce(coalesce(coalesce(coalesce(coalesce(coalesce(coalesce(coalesce(coalesce(coalesce(note, '-'), '-'), '-'), '-'), '-'), '-'), '-'), '-'), '-'), '-'), '-'), '-'), '-'), '-'), '-'), '-'), '-'), '-'), '-'), '-'), '-'), '-'), '-'), '-'), '-'), '-'), '-'), '-'), '-'), '-'), '-'), '-'), '-'), '-'), '-'), '-'), '-'), '-'), '-'), '-') from orders order by id limit 4
-- title: a hundred parentheses
select ((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((1))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))
-- title: fifty window functions
select id, lag(total, 0) over (order by id), lag(total, 1) over (order by id), lag(total, 2) over (order by id), lag(total, 3) over (order by id), lag(total, 4) over (order by id), lag(total, 5) over (order by id), lag(total, 6) over (order by id), lag(total, 7) over (order by id), lag(total, 8) over (order by id), lag(total, 9) over (order by id), lag(total, 10) over (order by id), lag(total, 11) over (order by id), lag(total, 12) over (order by id), lag(total, 13) over (order by id), lag(total, 14) over (order by id), lag(total, 15) over (order by id), lag(total, 16) over (order by id), lag(total, 17) over (order by id), lag(total, 18) over (order by id), lag(total, 19) over (order by id), lag(total, 20) over (order by id), lag(total, 21) over (order by id), lag(total, 22) over (order by id), lag(total, 23) over (order by id), lag(total, 24) over (order by id), lag(total, 25) over (order by id), lag(total, 26) over (order by id), lag(total, 27) over (order by id), lag(total, 28) over (order by id), lag(total, 29) over (order by id), lag(total, 30) over (order by id), lag(total, 31) over (order by id), lag(total, 32) over (order by id), lag(total, 33) over (order by id), lag(total, 34) over (order by id), lag(total, 35) over (order by id), lag(total, 36) over (order by id), lag(total, 37) over (order by id), lag(total, 38) over (order by id), lag(total, 39) over (order by id), lag(total, 40) over (order by id), lag(total, 41) over (order by id), lag(total, 42) over (order by id), lag(total, 43) over (order by id), lag(total, 44) over (order by id), lag(total, 45) over (order by id), lag(total, 46) over (order by id), lag(total, 47) over (order by id), lag(total, 48) over (order by id), lag(total, 49) over (order by id) from orders order by id limit 3
-- title: thirty EXISTS
select count(*) from orders o where exists (select from orders x where x.id = o.id + 0) and exists (select from orders x where x.id = o.id + 1) and exists (select from orders x where x.id = o.id + 2) and exists (select from orders x where x.id = o.id + 3) and exists (select from orders x where x.id = o.id + 4) and exists (select from orders x where x.id = o.id + 5) and exists (select from orders x where x.id = o.id + 6) and exists (select from orders x where x.id = o.id + 7) and exists (select from orders x where x.id = o.id + 8) and exists (select from orders x where x.id = o.id + 9) and exists (select from orders x where x.id = o.id + 10) and exists (select from orders x where x.id = o.id + 11) and exists (select from orders x where x.id = o.id + 12) and exists (select from orders x where x.id = o.id + 13) and exists (select from orders x where x.id = o.id + 14) and exists (select from orders x where x.id = o.id + 15) and exists (select from orders x where x.id = o.id + 16) and exists (select from orders x where x.id = o.id + 17) and exists (select from orders x where x.id = o.id + 18) and exists (select from orders x where x.id = o.id + 19) and exists (select from orders x where x.id = o.id + 20) and exists (select from orders x where x.id = o.id + 21) and exists (select from orders x where x.id = o.id + 22) and exists (select from orders x where x.id = o.id + 23) and exists (select from orders x where x.id = o.id + 24) and exists (select from orders x where x.id = o.id + 25) and exists (select from orders x where x.id = o.id + 26) and exists (select from orders x where x.id = o.id + 27) and exists (select from orders x where x.id = o.id + 28) and exists (select from orders x where x.id = o.id + 29)
-- title: a window of rows between unbounded preceding and current row
select id, sum(total) over (partition by status order by id rows between unbounded preceding and current row) from orders order by id limit 20
-- title: a window of rows between 3 preceding and 3 following
select id, sum(total) over (partition by status order by id rows between 3 preceding and 3 following) from orders order by id limit 20
-- title: a window of rows between current row and unbounded following
select id, sum(total) over (partition by status order by id rows between current row and unbounded following) from orders order by id limit 20
-- title: a window of range between unbounded preceding and current row
select id, sum(total) over (partition by status order by id range between unbounded preceding and current row) from orders order by id limit 20
-- title: a window of groups between 1 preceding and 1 following
select id, sum(total) over (partition by status order by id groups between 1 preceding and 1 following) from orders order by id limit 20
-- title: a window of rows between 2 preceding and 2 following exclude current row
select id, sum(total) over (partition by status order by id rows between 2 preceding and 2 following exclude current row) from orders order by id limit 20
-- title: a window of groups between unbounded preceding and current row exclude ties
select id, sum(total) over (partition by status order by id groups between unbounded preceding and current row exclude ties) from orders order by id limit 20
-- title: a window of rows between unbounded preceding and unbounded following exclude group
select id, sum(total) over (partition by status order by id rows between unbounded preceding and unbounded following exclude group) from orders order by id limit 20
-- title: a window of range between current row and unbounded following exclude no others
select id, sum(total) over (partition by status order by id range between current row and unbounded following exclude no others) from orders order by id limit 20
-- title: a window of a week
select id, count(*) over (order by placed_at range between interval '7 days' preceding and interval '1 day' following) from orders order by id limit 20
-- title: a window of amounts near
select id, count(*) over (order by total range between 10 preceding and 10 following) from orders order by id limit 20
-- title: the window function row_number()
select id, row_number() over (partition by customer_id % 5 order by total, id) from orders order by id limit 15
-- title: the window function rank()
select id, rank() over (partition by customer_id % 5 order by total, id) from orders order by id limit 15
-- title: the window function dense_rank()
select id, dense_rank() over (partition by customer_id % 5 order by total, id) from orders order by id limit 15
-- title: the window function percent_rank()
select id, percent_rank() over (partition by customer_id % 5 order by total, id) from orders order by id limit 15
-- title: the window function cume_dist()
select id, cume_dist() over (partition by customer_id % 5 order by total, id) from orders order by id limit 15
-- title: the window function ntile(7)
select id, ntile(7) over (partition by customer_id % 5 order by total, id) from orders order by id limit 15
-- title: the window function first_value(id)
select id, first_value(id) over (partition by customer_id % 5 order by total, id) from orders order by id limit 15
-- title: the window function last_value(id)
select id, last_value(id) over (partition by customer_id % 5 order by total, id) from orders order by id limit 15
-- title: the window function nth_value(id, 2)
select id, nth_value(id, 2) over (partition by customer_id % 5 order by total, id) from orders order by id limit 15
-- title: the window function lag(status, 1, 'none')
select id, lag(status, 1, 'none') over (partition by customer_id % 5 order by total, id) from orders order by id limit 15
-- title: the window function lead(placed_at)
select id, lead(placed_at) over (partition by customer_id % 5 order by total, id) from orders order by id limit 15
-- title: a named window refined
select id, avg(total) over (w rows 5 preceding) from orders window w as (partition by status order by id) order by id limit 10
-- title: a filter in a window
select id, count(*) filter (where status = 'paid') over (order by id) from orders order by id limit 10
-- title: the aggregate percentile_cont of 43
select status, percentile_cont(0.9) within group (order by total) from orders group by status order by status
-- title: the aggregate percentile_cont of 44
select status, percentile_cont(array[0.1, 0.5, 0.99]) within group (order by total) from orders group by status order by status
-- title: the aggregate percentile_disc of 45
select status, percentile_disc(0.25) within group (order by placed_at) from orders group by status order by status
-- title: the aggregate mode of 46
select status, mode() within group (order by customer_id) from orders group by status order by status
-- title: the aggregate rank of 47
select status, rank(50) within group (order by total) from orders group by status order by status
-- title: the aggregate dense_rank of 48
select status, dense_rank(50) within group (order by total) from orders group by status order by status
-- title: the aggregate percent_rank of 49
select status, percent_rank(50) within group (order by total) from orders group by status order by status
-- title: the aggregate cume_dist of 50
select status, cume_dist(50) within group (order by total) from orders group by status order by status
-- title: the aggregate covar_pop of 51
select status, covar_pop(id, total) from orders group by status order by status
-- title: the aggregate regr_r2 of 52
select status, regr_r2(total, id) from orders group by status order by status
-- title: the aggregate stddev_pop of 53
select status, stddev_pop(total) from orders group by status order by status
-- title: the aggregate bit_and of 54
select status, bit_and(id) from orders group by status order by status
-- title: the aggregate bool_or of 55
select status, bool_or(note is null) from orders group by status order by status
-- title: the aggregate string_agg of 56
select status, string_agg(status, '/' order by id) filter (where id < 9) from orders group by status order by status
-- title: the aggregate jsonb_object_agg of 57
select status, jsonb_object_agg(id, status) filter (where id < 4) from orders group by status order by status
-- title: the aggregate array_agg of 58
select status, array_agg(id order by total desc, id) filter (where id < 9) from orders group by status order by status
-- title: the aggregate count of 59
select status, count(distinct customer_id) from orders group by status order by status
-- title: the aggregate sum of 60
select status, sum(distinct total) from orders group by status order by status
-- title: percentiles of time spans
select percentile_cont(0.5) within group (order by p.paid_at - o.placed_at::date) from orders o join payments p on p.order_id = o.id
-- title: what is valid on a day
select id from products where valid @> date '2026-01-15' order by id
-- title: overlapping ranges
select a.id, b.id from products a join products b on a.valid && b.valid and a.id < b.id order by 1, 2 limit 10
-- title: adjacent ranges
select count(*) from products a, products b where a.valid -|- b.valid
-- title: bounds of ranges
select id, lower(valid), upper(valid), isempty(valid), lower_inc(valid), upper_inf(valid) from products order by id limit 5
-- title: intersection of ranges
select id, valid * daterange('2026-01-10', '2026-01-20') from products order by id limit 12
-- title: union of ranges
select range_merge(a.valid, b.valid) from products a, products b where a.id = 1 and b.id = 5
-- title: ranges of numbers
select numrange(1.5, 3.5) @> 2.0, int4range(1, 10) * int4range(5, 15), int8multirange(int8range(1, 3), int8range(7, 9))
-- title: ranges of time
select count(*) from orders where tstzrange('2026-03-05 00:00+00', '2026-03-12 00:00+00') @> placed_at
-- title: many ranges made one
select range_agg(valid), range_intersect_agg(valid) from products where id < 4
-- title: days of a range
select d::date from products p, generate_series(lower(p.valid), upper(p.valid), interval '30 days') d where p.id = 2 order by 1
-- title: text search: words found
select id from orders where to_tsvector('english', coalesce(note, '')) @@ to_tsquery('english', 'gift') order by id limit 5
-- title: text search: words as people type them
select id from orders where to_tsvector('english', note) @@ websearch_to_tsquery('english', 'gifts -"no such" or present') order by id limit 5
-- title: text search: a phrase
select id from products where to_tsvector('simple', name) @@ phraseto_tsquery('simple', 'product 7')
-- title: text search: ranked words
select id, ts_rank(to_tsvector('english', name), plainto_tsquery('english', 'product 3')) as r from products order by r desc, id limit 5
-- title: text search: a headline
select ts_headline('english', 'the quick brown fox jumps', to_tsquery('english', 'fox & jump'))
-- title: text search: parts of a vector
select tsvector_to_array(to_tsvector('english', 'the quick brown foxes')), numnode(to_tsquery('a & b | c')), strip(to_tsvector('simple', 'a b'))
-- title: text search: weights
select setweight(to_tsvector('simple', name), 'A') || setweight(to_tsvector('simple', category), 'B') from products order by id limit 3
-- title: text search: prefixes
select count(*) from products where to_tsvector('simple', name) @@ 'prod:*'::tsquery
-- title: text search: words near
select to_tsvector('english', 'fatal error') @@ to_tsquery('english', 'fatal <-> error')
-- title: JSON: a path with a filter
select jsonb_path_query('[{"a": 1}, {"a": 5}]', '$[*] ? (@.a > $x)', '{"x": 2}')
-- title: JSON: a path in WHERE
select id from customers where profile @? '$.langs[*] ? (@ == "en")' order by id limit 5
-- title: JSON: a path predicate
select id from customers where profile @@ '$.age > 60' order by id
-- title: JSON: contained
select id from products where attributes @> '{"color": "red"}' order by id limit 5
-- title: JSON: keys
select k, count(*) from products, jsonb_object_keys(attributes) k group by k order by k
-- title: JSON: each
select p.id, e.key, e.value from products p, jsonb_each_text(p.attributes) e where p.id < 3 order by 1, 2
-- title: JSON: elements with their place
select c.id, l.place, l.lang from customers c, jsonb_array_elements_text(c.profile -> 'langs') with ordinality l(lang, place) where c.id < 3 order by 1, 2
-- title: JSON: records
select * from jsonb_to_recordset('[{"a": 1, "b": "x"}, {"a": 2}]') as t(a int, b text) order by a
-- title: JSON: set and removed
select jsonb_set(attributes, '{size}', '99') - 'color', attributes #- '{size}' from products order by id limit 2
-- title: JSON: subscripts
select attributes['size'], profile['langs'][0] from products p join customers c on c.id = p.id order by p.id limit 3
-- title: JSON: built
select json_build_object('id', id, 'tags', tags) from customers order by id limit 2
-- title: JSON: pretty
select jsonb_pretty(attributes) from products order by id limit 1
-- title: JSON: merged
select attributes || jsonb_build_object('price', price) from products order by id limit 2
-- title: JSON: without nulls
select json_strip_nulls('{"a": null, "b": 1}')
-- title: JSON: type
select jsonb_typeof(profile -> 'age'), jsonb_array_length(profile -> 'langs') from customers order by id limit 2
-- title: JSON: aggregated by group
select category, jsonb_agg(name order by id) from products group by category order by category
-- title: since 17: JSON_TABLE over a column
select c.id, j.place, j.lang from customers c, json_table(c.profile, '$.langs[*]' columns (place for ordinality, lang text path '$')) j where c.id < 4 order by 1, 2
-- title: since 17: JSON_TABLE with nested paths
select j.* from json_table('[{"o": 1, "l": [{"s": "a"}, {"s": "b"}]}]'::jsonb, '$[*]' columns (o int path '$.o', nested path '$.l[*]' columns (s text path '$.s', n int path '$.n' default 7 on empty))) j order by s
-- title: since 17: JSON_TABLE with EXISTS and errors
select j.* from json_table('{"a": "x"}'::jsonb, '$' columns (has boolean exists path '$.a', bad int path '$.a' null on error)) j
-- title: since 17: JSON_VALUE of a column
select id, json_value(profile, '$.age' returning int) + 1 from customers order by id limit 4
-- title: since 17: JSON_QUERY with a wrapper
select json_query(profile, '$.langs[*]' with wrapper) from customers order by id limit 2
-- title: since 16: IS JSON
select '{}' is json, '[1]' is json array, 'x' is not json, '{"a":1,"a":2}' is json with unique keys
-- title: since 16: JSON_ARRAYAGG
select json_arrayagg(name order by id returning jsonb) from products where id < 4
-- title: recursive: numbers
with recursive n(i) as (values (1) union all select i + 1 from n where i < 50) select sum(i) from n
-- title: recursive: Fibonacci
with recursive f(a, b) as (select 0::bigint, 1::bigint union all select b, a + b from f where b < 1000000) select a from f order by a, b
-- title: recursive: a chart
with recursive t as (select id, name, manager_id, name::text as path, 0 as level from employees where manager_id is null union all select e.id, e.name, e.manager_id, t.path || ' > ' || e.name, level + 1 from employees e join t on t.id = e.manager_id) select path, level from t order by path
-- title: recursive: months
with recursive m(d) as (select date '2026-01-01' union all select (d + interval '1 month')::date from m where d < '2026-12-01') select m.d, count(o.id) from m left join orders o on date_trunc('month', o.placed_at at time zone 'UTC') = m.d group by m.d order by m.d
-- title: recursive: breadth first
with recursive t(id, m) as (select id, manager_id from employees where id = 1 union all select e.id, e.manager_id from employees e join t on e.manager_id = t.id) search breadth first by id set seq select id from t order by seq
-- title: recursive: a cycle found
with recursive g(a, b) as (values (1, 2), (2, 3), (3, 1)), t(n) as (select 1 union all select g.b from g join t on g.a = t.n) cycle n set again to 'y' default 'n' using p select n, again from t order by array_length(p, 1)
-- title: recursive: two recursive queries
with recursive a(n) as (select 1 union all select n + 1 from a where n < 5), b(n) as (select n * 10 from a union all select n + 1 from b where n % 10 < 3) select count(*), sum(n) from b
-- title: lateral: the three newest of each
select c.id, o.id from customers c cross join lateral (select id from orders where customer_id = c.id order by placed_at desc limit 3) o where c.id < 5 order by 1, 2
-- title: lateral: or nothing
select c.id, o.n from customers c left join lateral (select count(*) as n from orders where customer_id = c.id having count(*) > 5) o on true order by 1 limit 10
-- title: lateral: values
select o.id, v.k, v.x from orders o, lateral (values ('total', o.total), ('half', o.total / 2)) v(k, x) where o.id < 3 order by 1, 2
-- title: lateral: a function of the row
select p.id, s from products p, lateral generate_series(1, p.id) s where p.id < 4 order by 1, 2
-- title: lateral: chained
select o.id, b.y from orders o, lateral (select o.total * 2 as x) a, lateral (select a.x + 1 as y) b order by o.id limit 4
-- title: lateral: a split
select c.id, w from customers c, lateral regexp_split_to_table(c.name, ' ') w where c.id < 3 order by 1, 2
-- title: lateral: ROWS FROM
select * from rows from (generate_series(1, 3), unnest(array['a', 'b'])) with ordinality as r(n, t, place)
-- title: time: a zone
select placed_at at time zone 'America/New_York' from orders order by id limit 3
-- title: time: a zone and back
select (timestamp '2026-07-01 12:00' at time zone 'Asia/Tokyo') at time zone 'UTC'
-- title: time: an offset
select timestamptz '2026-07-01 12:00+00' at time zone interval '-03:30'
-- title: time: a summer change
select generate_series(timestamptz '2026-03-28 12:00+00', timestamptz '2026-03-30 12:00+00', interval '12 hours') at time zone 'Europe/Oslo'
-- title: time: a time of day
select time with time zone '12:00+02' at time zone 'UTC'
-- title: time: by week
select extract(isoyear from placed_at) as y, extract(week from placed_at) as w, count(*) from orders group by 1, 2 order by 1, 2 limit 10
-- title: time: by quarter
select to_char(placed_at, 'YYYY"-Q"Q'), sum(total) from orders group by 1 order by 1
-- title: time: by the hour in a zone
select extract(hour from placed_at at time zone 'Europe/Oslo') as h, count(*) from orders group by h order by h
-- title: time: bins
select date_bin('15 minutes', placed_at, timestamptz '2026-01-01 00:00+00') as b, count(*) from orders group by b order by b limit 5
-- title: time: last day of the month
select (date_trunc('month', paid_at) + interval '1 month - 1 day')::date as last, count(*) from payments group by 1 order by 1
-- title: time: age
select age(timestamp '2026-12-24', timestamp '2026-02-28'), justify_interval(interval '40 days 30 hours')
-- title: time: overlaps
select (date '2026-01-01', date '2026-02-01') overlaps (date '2026-01-15', interval '1 month')
-- title: time: parts
select extract(epoch from interval '1 day 2 hours'), date_part('doy', date '2026-12-31'), extract(century from date '2026-01-01')
-- title: time: parsed
select to_date('24.12.2026', 'DD.MM.YYYY'), to_timestamp('2026-12-24 18:30', 'YYYY-MM-DD HH24:MI')
-- title: time: made
select make_timestamptz(2026, 5, 17, 12, 30, 0, 'UTC'), make_interval(months => 2, days => 3)
-- title: time: business days
select count(*) from generate_series(date '2026-05-01', date '2026-05-31', interval '1 day') d where extract(isodow from d) < 6
-- title: time: in a subselect
select d, n from (select (placed_at at time zone 'Europe/Oslo')::date as d, count(*) as n from orders group by 1) x order by n desc, d limit 5
-- title: a shop's question: revenue by month
select to_char(placed_at at time zone 'UTC', 'YYYY-MM') as month, sum(total) as revenue from orders group by 1 order by 1
-- title: a shop's question: revenue growth by month
with m as (select date_trunc('month', placed_at) as month, sum(total) as revenue from orders group by 1) select month, revenue, round(100 * (revenue / nullif(lag(revenue) over (order by month), 0) - 1), 1) as growth from m order by month
-- title: a shop's question: best customers
select c.id, c.name, sum(o.total) as spent from customers c join orders o on o.customer_id = c.id group by c.id, c.name order by spent desc, c.id limit 10
-- title: a shop's question: customers without orders
select id, name from customers c where not exists (select from orders where customer_id = c.id) order by id
-- title: a shop's question: customers with more than three orders
select customer_id, count(*) from orders group by customer_id having count(*) > 3 order by 2 desc, 1 limit 10
-- title: a shop's question: new customers by week
select date_trunc('week', created_at) as week, count(*) from customers group by 1 order by 1
-- title: a shop's question: average basket
select round(avg(total), 2), percentile_cont(0.5) within group (order by total) from orders
-- title: a shop's question: items in a basket
select round(avg(n), 2) from (select order_id, sum(quantity) as n from order_items group by order_id) x
-- title: a shop's question: best products
select p.name, sum(i.quantity) as sold from order_items i join products p on p.id = i.product_id group by p.id, p.name order by sold desc, p.name limit 10
-- title: a shop's question: products nobody bought
select p.id, p.name from products p left join order_items i on i.product_id = p.id where i.order_id is null order by p.id
-- title: a shop's question: revenue by category
select p.category, sum(i.quantity * i.unit_price) as revenue from order_items i join products p on p.id = i.product_id group by p.category order by revenue desc
-- title: a shop's question: share of each category
select category, round(100.0 * sum(price) / sum(sum(price)) over (), 1) as share from products group by category order by category
-- title: a shop's question: orders not paid
select count(*), sum(o.total) from orders o left join payments p on p.order_id = o.id where p.id is null
-- title: a shop's question: paid less than owed
select o.id, o.total, sum(p.amount) as paid from orders o join payments p on p.order_id = o.id group by o.id, o.total having sum(p.amount) < o.total order by o.id
-- title: a shop's question: methods of payment
select method, count(*), sum(amount) from payments group by method order by method
-- title: a shop's question: days until payment
select round(avg(p.paid_at - o.placed_at::date), 2) from payments p join orders o on o.id = p.order_id
-- title: a shop's question: returns by month
select date_trunc('month', placed_at) as month, count(*) filter (where status = 'returned') * 100.0 / count(*) as percent from orders group by 1 order by 1
-- title: a shop's question: customers by city
select coalesce(city, 'unknown') as city, count(*) from customers group by 1 order by 2 desc, 1
-- title: a shop's question: mood of the customers
select mood, count(*) from customers group by mood order by mood
-- title: a shop's question: customers with a tag
select id from customers where 't1' = any (tags) order by id limit 10
-- title: a shop's question: tags and how many have them
select t, count(*) from customers, unnest(tags) t group by t order by 2 desc, 1
-- title: a shop's question: age groups
select width_bucket((profile ->> 'age')::int, 20, 70, 5) as bucket, count(*) from customers group by bucket order by bucket
-- title: a shop's question: repeat buyers
select count(*) filter (where n > 1) * 100.0 / count(*) from (select customer_id, count(*) as n from orders group by customer_id) x
-- title: a shop's question: cohorts
with first as (select customer_id, min(placed_at) as at from orders group by customer_id) select date_trunc('month', f.at) as cohort, (o.placed_at::date - f.at::date) / 30 as later, count(distinct o.customer_id) from orders o join first f using (customer_id) group by 1, 2 order by 1, 2
-- title: a shop's question: a running total
select id, total, sum(total) over (order by placed_at, id) as running from orders order by placed_at, id limit 10
-- title: a shop's question: a moving average
select day, avg(n) over (order by day rows 6 preceding) from (select placed_at::date as day, count(*) as n from orders group by 1) d order by day limit 15
-- title: a shop's question: the top three of each city
select * from (select c.city, c.name, sum(o.total) as spent, row_number() over (partition by c.city order by sum(o.total) desc, c.name) as place from customers c join orders o on o.customer_id = c.id group by c.city, c.name) r where place <= 3 order by city, place
-- title: a shop's question: the second best order of each customer
select distinct customer_id, nth_value(total, 2) over (partition by customer_id order by total desc, id rows between unbounded preceding and unbounded following) from orders order by 1 limit 10
-- title: a shop's question: quartiles of customers
select quartile, count(*), min(spent), max(spent) from (select spent, ntile(4) over (order by spent, customer_id) as quartile from order_totals) q group by quartile order by quartile
-- title: a shop's question: the pareto share
select count(*) from (select spent, sum(spent) over (order by spent desc, customer_id) as running, sum(spent) over () as whole from order_totals) x where running <= 0.8 * whole
-- title: a shop's question: bought together
select a.product_id, b.product_id, count(*) from order_items a join order_items b on b.order_id = a.order_id and b.product_id > a.product_id group by 1, 2 order by 3 desc, 1, 2 limit 5
-- title: a shop's question: a pivot of states
select date_trunc('month', placed_at) as month, count(*) filter (where status = 'new') as new, count(*) filter (where status = 'paid') as paid, count(*) filter (where status = 'sent') as sent from orders group by 1 order by 1
-- title: a shop's question: subtotals
select category, date_part('month', lower(valid)) as month, sum(price) from products group by rollup (category, month) order by 1 nulls last, 2 nulls last
-- title: a shop's question: prices above their category's mean
select name, price from products p where price > (select avg(price) from products where category = p.category) order by price desc limit 5
-- title: a shop's question: prices valid today
select count(*) from products where valid @> date '2026-02-01'
-- title: a shop's question: cheapest and dearest
select category, min(price), max(price), (array_agg(name order by price desc, id))[1] as dearest from products group by category order by category
-- title: a shop's question: gaps between orders
select customer_id, max(gap) from (select customer_id, placed_at - lag(placed_at) over (partition by customer_id order by placed_at) as gap from orders) g group by customer_id order by 2 desc nulls last, 1 limit 5
-- title: a shop's question: silent since
select c.id, max(o.placed_at) as last from customers c join orders o on o.customer_id = c.id group by c.id having max(o.placed_at) < timestamptz '2026-05-01 00:00+00' order by 2, 1 limit 5
-- title: a shop's question: orders of a day
select id, total from orders where placed_at >= date '2026-03-15' and placed_at < date '2026-03-16' order by id
-- title: a shop's question: orders by weekday
select to_char(placed_at, 'ID Dy') as day, count(*) from orders group by 1 order by 1
-- title: a shop's question: duplicates of a name
select lower(name), count(*) from products group by 1 having count(*) > 1 order by 1
-- title: a shop's question: missing addresses of mail
select count(*) - count(email) as missing, round(100.0 * count(email) / count(*), 1) as percent from customers
-- title: a shop's question: domains of mail
select split_part(email, '@', 2) as domain, count(*) from customers where email is not null group by 1 order by 2 desc
-- title: a shop's question: a search by part of a name
select id, name from customers where name ilike '%er 1%' order by id
-- title: a shop's question: a search by number
select id, name from customers where name ~ '\m2\d$' order by id
-- title: a shop's question: names formatted
select format('%s <%s>', name, coalesce(email, 'none')) from customers order by id limit 3
-- title: a shop's question: who reports to whom
select e.name, coalesce(m.name, 'nobody') as boss from employees e left join employees m on m.id = e.manager_id order by e.id
-- title: a shop's question: people by department
select department, count(*), string_agg(name, ', ' order by name) from employees group by department order by department
-- title: a shop's question: longest chain of command
with recursive t as (select id, 1 as depth from employees where manager_id is null union all select e.id, depth + 1 from employees e join t on t.id = e.manager_id) select max(depth) from t
-- title: a shop's question: notes with a word
select id, substring(note from '\d+')::int as n from orders where note like 'gift%' order by id limit 5
-- title: a shop's question: orders above what is usual
select id, total from (select id, total, avg(total) over () as a, stddev(total) over () as s from orders) x where total > a + 1.5 * s order by total desc, id limit 5
-- title: a shop's question: compared with the month before
select a.month, a.n, b.n from (select date_trunc('month', placed_at) as month, count(*) as n from orders group by 1) a left join (select date_trunc('month', placed_at) + interval '1 month' as month, count(*) as n from orders group by 1) b using (month) order by 1
-- title: a shop's question: what a discount would cost
select sum(price) - sum(discount(price)) from products
-- title: a shop's question: an export for a spreadsheet
select o.id as "Order", c.name as "Customer", to_char(o.total, 'FM999G990D00') as "Total" from orders o join customers c on c.id = o.customer_id order by o.id limit 5
-- title: a shop's question: a sample
select count(*) > 0 from orders tablesample bernoulli (50) repeatable (7)
-- title: a shop's question: a page
select id, total from orders order by placed_at desc, id desc limit 20 offset 40
-- title: a shop's question: a page by key
select id, total from orders where (placed_at, id) < (timestamptz '2026-04-01 00:00+00', 200) order by placed_at desc, id desc limit 20
-- title: a shop's question: how the tables are filled
select 'orders' as t, count(*) from orders union all select 'customers', count(*) from customers union all select 'payments', count(*) from payments order by 1
-- title: a shop's question: in one but not the other
select id from orders except select order_id from payments order by 1 limit 10
-- title: a shop's question: in both
select customer_id from orders where status = 'paid' intersect select customer_id from orders where status = 'returned' order by 1
-- title: a shop's question: a histogram
select b, repeat('*', count(*)::int / 4) from (select width_bucket(total, 0, 250, 10) as b from orders) x group by b order by b
-- title: a shop's question: days without orders
select d::date from generate_series(date '2026-03-01', date '2026-03-10', interval '1 day') d where not exists (select from orders where placed_at::date = d::date) order by 1
-- title: a shop's question: a median by category
select category, percentile_disc(0.5) within group (order by price) from products group by category order by category
-- title: a shop's question: a weighted mean
select round(sum(unit_price * quantity) / sum(quantity), 4) from order_items
-- title: a shop's question: a yes or no
select exists (select from orders where total > 249), bool_and(total >= 0) from orders
-- title: a shop's question: a greatest of several
select id, greatest(total, 100), least(total, 100), abs(total - 100), sign(total - 100) from orders order by id limit 4
-- title: a shop's question: a null-safe comparison
select count(*) from orders where note is not distinct from null
-- title: a shop's question: rounded to tens
select round(total, -1) as about, count(*) from orders group by about order by about
-- title: a shop's question: letters of the alphabet
select left(category, 1) as letter, count(*) from products group by letter order by letter
