-- The sample shop: tables, types and views. Loaded in one transaction, as the superuser, into an empty database.

-- All of it belongs to a role that nobody logs in as.
set local role ostiary_shop;

-- Where an order stands, in the order in which it goes there.
create type order_status as enum ('pending', 'paid', 'shipped', 'delivered', 'returned', 'cancelled');

-- How a payment was made.
create type payment_method as enum ('card', 'bank_transfer', 'wallet');

-- An e-mail address, checked as far as a pattern can.
create domain email_address as text check (value ~ '^[^@[:space:]]+@[^@[:space:]]+\.[a-z]+$');

-- Categories form a tree of two levels.
create table categories (
    id integer generated always as identity primary key,
    parent_id integer references categories,
    name text not null unique
);

create table products (
    id integer generated always as identity primary key,
    sku text not null unique check (sku ~ '^[A-Z]{3}-[0-9]{4}$'),
    name text not null,
    category_id integer not null references categories,
    price numeric(10, 2) not null check (price > 0),
    purchase_price numeric(10, 2) not null,
    stock integer not null default 0 check (stock >= 0),
    labels text[] not null default '{}',
    attributes jsonb not null default '{}',
    discontinued_on date
);
create index products_category_id on products (category_id);
create index products_labels on products using gin (labels);

create table customers (
    id integer generated always as identity primary key,
    full_name text not null,
    email email_address not null unique,
    phone text,
    birth_date date,
    newsletter boolean not null default false,
    segment text not null default 'private' check (segment in ('private', 'business')),
    created_at timestamptz not null
);
create index customers_created_at on customers (created_at);

create table addresses (
    id integer generated always as identity primary key,
    customer_id integer not null references customers on delete cascade,
    street text not null,
    postcode text not null,
    city text not null,
    country char(2) not null,
    is_default boolean not null default true
);
create index addresses_customer_id on addresses (customer_id);

create table employees (
    id integer generated always as identity primary key,
    full_name text not null,
    email email_address not null unique,
    department text not null,
    job_title text not null,
    manager_id integer references employees,
    hired_on date not null,
    salary numeric(10, 2) not null,
    national_id text not null unique
);
create index employees_manager_id on employees (manager_id);

create table orders (
    id integer generated always as identity primary key,
    customer_id integer not null references customers,
    address_id integer not null references addresses,
    handled_by integer references employees,
    status order_status not null,
    placed_at timestamptz not null,
    shipped_at timestamptz,
    check (shipped_at is null or shipped_at > placed_at)
);
create index orders_customer_id on orders (customer_id, placed_at desc);
create index orders_placed_at on orders (placed_at);
create index orders_open on orders (status) where status in ('pending', 'paid');

create table order_items (
    order_id integer not null references orders on delete cascade,
    line_no smallint not null,
    product_id integer not null references products,
    quantity smallint not null check (quantity > 0),
    unit_price numeric(10, 2) not null,
    amount numeric(12, 2) generated always as (quantity * unit_price) stored,
    primary key (order_id, line_no)
);
create index order_items_product_id on order_items (product_id);

create table payments (
    id integer generated always as identity primary key,
    order_id integer not null references orders,
    method payment_method not null,
    amount numeric(12, 2) not null check (amount > 0),
    paid_at timestamptz not null,
    card_last4 char(4),
    iban text,
    provider_token text not null unique
);
create index payments_order_id on payments (order_id);

create table reviews (
    id integer generated always as identity primary key,
    product_id integer not null references products,
    customer_id integer not null references customers,
    rating smallint not null check (rating between 1 and 5),
    body text not null,
    written_at timestamptz not null,
    unique (product_id, customer_id)
);

-- The part of a gross amount that is not value added tax.
create function net_amount(gross numeric, vat_percent numeric default 19) returns numeric
    language sql immutable parallel safe
    return round(gross / (1 + vat_percent / 100), 2);

-- One row per order with its sum; no personal data.
create view order_totals as
    select o.id as order_id, o.customer_id, o.status, o.placed_at, count(*) as lines, sum(i.amount) as gross, net_amount(sum(i.amount)) as net
    from orders o
    join order_items i on i.order_id = o.id
    group by o.id;

-- Where to send a newsletter; a view with personal data, which has to be guarded like the table beneath.
create view newsletter_recipients as
    select id as customer_id, full_name, email from customers where newsletter;

-- Turnover per month and category, as of the last refresh.
create materialized view monthly_sales as
    select date_trunc('month', o.placed_at, 'UTC')::date as month, c.name as category, sum(i.quantity) as pieces, sum(i.amount) as gross
    from orders o
    join order_items i on i.order_id = o.id
    join products p on p.id = i.product_id
    join categories c on c.id = p.category_id
    where o.status not in ('returned', 'cancelled')
    group by 1, 2
    with no data;
create unique index monthly_sales_key on monthly_sales (month, category);

reset role;
