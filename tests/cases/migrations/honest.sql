-- title: a table
-- needs: define app
create table app.notes (id bigint generated always as identity primary key, words text not null default '', at timestamptz default now(), check (words <> 'x'))
-- title: a table that points to another
-- needs: define app; define app.free; read app.free; read app.free.id
create table notes (id int primary key, free_id int references free, parent int references notes (id), unique (free_id))
-- title: a table of parts
-- needs: define app
create table app.log (at date not null, words text) partition by range (at)
-- title: a part
-- needs: define app; define app.whole; read app.whole; read app.whole.at; read app.whole.number
create table app.whole_two partition of app.whole for values from ('2021-01-01') to ('2022-01-01')
-- title: a column
-- needs: define app.free
alter table free add column extra text
-- title: a column with a constant default
-- needs: define app.docs
alter table docs add column extra int default 5
-- title: a column and a check of it
-- needs: define app.free; read app.free; read app.free.number
alter table free add column extra int, add constraint more check (extra > number)
-- title: a column of a table with parts
-- needs: define app.whole; define app.whole_one
alter table whole add column extra int
-- title: not null
-- needs: define app.free; read app.free; read app.free.words
alter table free alter column words set not null
-- title: null again
-- needs: define app.free
alter table free alter column words drop not null
-- title: a default
-- needs: define app.free; insert app.free.words; update app.free.words
alter table free alter column words set default upper('a')
-- title: no default of a table with masks
-- needs: define app.people; insert app.people.team; update app.people.team
alter table people alter column team drop default
-- title: a type
-- needs: define app.alone; read app.alone; read app.alone.id; update app.alone.id
alter table alone alter column id type bigint
-- title: a type of a domain
-- needs: define app.child; read app.child; read app.child.free_id; update app.child.free_id
alter table child alter column free_id type bigint using free_id + 1
-- title: a check of new rows
-- needs: define app.free; read app.free; read app.free.number
alter table free add constraint more check (number > 0 and number is not null) not valid
-- title: a check is validated
-- needs: define app.free; read app.free; read app.free.number
alter table free validate constraint small
-- title: a unique constraint
-- needs: define app.free; read app.free; read app.free.number; read app.free.words
alter table free add constraint once unique (number, words)
-- title: a unique constraint of an index
-- needs: define app.free; read app.free; read app.free.number
alter table free add constraint once unique using index free_number
-- title: a foreign key
-- needs: define app.alone; define app.free; read app.alone; read app.alone.id; read app.free; read app.free.id
alter table alone add constraint to_free foreign key (id) references free not valid
-- title: a constraint goes
-- needs: define app.free
alter table free drop constraint small
-- title: a constraint is called otherwise
-- needs: define app.free
alter table free rename constraint small to smaller
-- title: a column goes
-- needs: define app.free; update app.free.at
alter table free drop column at
-- title: a column is called otherwise
-- needs: define app.free; insert app.free.at; read app.free; read app.free.at; update app.free.at
alter table free rename column at to since
-- title: an index
-- needs: define app.free; read app.free; read app.free.at; read app.free.words
create index free_words on free using btree (lower(words) text_pattern_ops, at desc) where words is not null
-- title: an index goes
-- needs: define app.free
drop index free_number
-- title: an index is called otherwise
-- needs: define app.free
alter index app.free_number rename to free_no
-- title: a table goes
-- needs: define app.child; delete app.child
drop table child
-- title: a view goes
-- needs: define app.bodies
drop view bodies
-- title: an enum
-- needs: define app
create type app.size as enum ('s', 'l')
-- title: a label
-- needs: define app
alter type level add value 'shut' after 'open'
-- title: a sequence
-- needs: define app
create sequence app.others increment by 2 start with 10
-- title: a sequence goes
-- needs: define app
drop sequence numbers
-- title: a schema
-- needs: define side
create schema side
-- title: a comment
-- needs: define app.free
comment on column app.free.words is 'what was said'
-- title: a comment on a table
-- needs: define app.free
comment on table free is 'e.g. me@example.org'
