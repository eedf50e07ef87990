-- Written last: a database without this comment is furnished again at the next start.
comment on database shop is 'The sample shop that ostiary ships; every person in it is invented.';
