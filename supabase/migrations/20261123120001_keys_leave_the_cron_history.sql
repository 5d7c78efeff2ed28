-- Keys leave the history of pg_cron: each old run has kept the command that it ran, and the key in it.
--
-- Changes, in cron.job_run_details: the command of a run becomes a comment with the name of its function, and of its message only the
--   first word is left, unless the message is one of pg_cron's own. It does so with every run that has ended and
--   - is of a job of the migration before this one, but ran another command than that migration's; or
--   - is of a job that does not exist any more, and names the function of such a job in its command or message.
-- Leaves alone: the rows, ids, times and statuses of all runs; every other run; runs in progress. Run it again when those have ended.
-- The old text stays on disk until vacuum, and in the server's log: revoke a key that was in it.
-- Run it as postgres, as often as you like (psql -1 -f): a second run changes nothing.

set local statement_timeout = 0; -- a history may have millions of runs

do $history$
declare
  changed bigint;
begin
  set local search_path = ''; -- nothing in public is called
  with job as (
    select jobid, called, '(?<![A-Za-z0-9_-])' || called || '(?![A-Za-z0-9_-])' as names_it
    from (select jobid, substring(command, '\n  job constant jsonb := \$line\$(.*?)\$line\$;\n')::jsonb ->> 'function' as called
      from cron.job where command ~ '^-- supabase-cron-vault, template [0-9]+:') as made
  ),
  ended as ( -- and no run in progress: a lock on its row would stop pg_cron, and with it every job
    select run.ctid as place, command, case when job.jobid is not null then job.called when run.jobid <> all (array(select jobid from cron.job))
      then (select gone.called from job as gone where strpos(concat_ws(' ', command, return_message), gone.called) > 0
        and concat_ws(' ', command, return_message) ~ gone.names_it limit 1) end as called
    from cron.job_run_details as run left join job using (jobid) where status in ('succeeded', 'failed') offset 0
    -- offset 0: the patterns below are not tried on the texts of other jobs, which may be millions
  )
  update cron.job_run_details as run
  set command = format('-- supabase-cron-vault removed the text of this command of %s on %s', called, to_char(now(), 'YYYY-MM-DD')),
    return_message = case
      when return_message is null or return_message ~ ('^([0-9]+ rows?|[A-Z]+( [A-Z]+)*( [0-9]+)*|server restarted|connection failed|job startup '
        'timeout|job canceled|server closed the connection unexpectedly\n\s*This probably means the server terminated abnormally\n\s*before or '
        'while processing the request\.\n)$') then return_message
      else concat_ws(' ', substring(return_message, '^[A-Z]+:'), '[removed]') end
  from ended where run.ctid = ended.place and ended.called is not null
    and ended.command !~ '^-- supabase-cron-vault(, template [0-9]+:[^\n]*\ndo \$job\$\ndeclare\n  job constant jsonb := \$line\$| removed [^\n]*$)';
  get diagnostics changed = row_count;
  raise notice '% runs lost the text of their command', changed;
end
$history$;
