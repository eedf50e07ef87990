-- Roles of the embedded cluster; safe to run twice.
do $$
begin
    -- The sample's owner is nobody who logs in, so that its views and functions run with no more than it needs.
    if to_regrole('ostiary_shop') is null then
        create role ostiary_shop nologin;
    end if;
    -- Agents' statements run as this role; peer authentication lets only the owner of the home be it.
    if to_regrole('ostiary_agent') is null then
        create role ostiary_agent login nosuperuser nocreatedb nocreaterole noreplication nobypassrls;
    end if;
    -- What agents change is changed as this one.
    if to_regrole('ostiary_changer') is null then
        create role ostiary_changer login nosuperuser nocreatedb nocreaterole noreplication nobypassrls;
    end if;
    -- No statement of an agent runs as this one.
    if to_regrole('ostiary_vectors') is null then
        create role ostiary_vectors login nosuperuser nocreatedb nocreaterole noreplication nobypassrls;
    end if;
    -- What is in a backup is run as this one, when a database is made out of it.
    if to_regrole('ostiary_restorer') is null then
        create role ostiary_restorer login nosuperuser createdb nocreaterole noreplication nobypassrls;
    end if;
end
$$;
