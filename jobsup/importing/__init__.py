"""Jobs of other systems become jobs of this one, and the other way round.

A source is read into `Draft`s: the tables a `[[job]]` will have, where each is from, and a note for whatever does not
mean the same here. `crontab` reads cron's files and `cron_jobs` turns their lines into drafts; `cron_places` knows
where cron keeps them. `unit_files` and `exec_lines` read systemd's units, `timers` makes drafts of them. `portal` and
`portal_rows` do it for a Job Trigger Portal, history and all.

A draft must mean what the source means: what cron does not do (retry, time out, catch up) is switched off in it. Each
is put before the configuration's own checks (`proof`), so that what `toml_text` writes loads as it stands. What would
be dangerous to run half-understood (as the wrong user, without its variables) is written with `enabled = false`.
What cannot be read at all is a `Fault` with its place, and stops nothing else.

The way out: `tables` gives a stored definition as its table, `crontab_lines` as lines of a crontab.
"""
