-- Written last: a database or a role without this comment is furnished again at the next start.
comment on database shop is 'The sample shop that ostiary ships; every person in it is invented.';
comment on database vectors is 'Collections of ostiary: texts and vectors that no agent reads but through policy.';
comment on role ostiary_changer is 'Writes rows of the sample shop for agents, and owns nothing.';
comment on role ostiary_restorer is 'Makes databases out of backups, and is no superuser.';
