-- In the database of vectors, as its administrator: its login owns one schema, and makes nothing outside it.
create extension if not exists vector;
create extension if not exists pg_trgm;
create schema if not exists ostiary_vectors authorization ostiary_vectors;
