-- Test: a function may take 50 s, a run gives up after 110 s, and the two fit each other
begin;
select plan(2);
create temporary table ours as
  select jobname::text collate "default" as job, substring(command, 'answer_within constant numeric := (\d+);')::int as answer_within,
    substring(command, 'give_up_after constant numeric := (\d+);')::int as give_up_after
  from cron.job where jobname in ('odoo-crm-sync-incremental', 'odoo-chatter-sync-hourly');
select results_eq($$select * from ours order by job$$,
  $$values ('odoo-chatter-sync-hourly', 50, 110), ('odoo-crm-sync-incremental', 50, 110)$$, 'the shipped values');
select is_empty($$select job from ours where give_up_after < 2 * answer_within + 5 or give_up_after >= 120$$,
  'another slow request fits in before, and the statement_timeout of 2 minutes comes after');
select * from finish();
rollback;
