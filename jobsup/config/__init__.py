"""What one instance was told: a TOML file, the files it includes and the environment become a frozen `Config`.

The full loader (`load`) reads the files (`source`: may they be trusted, are they TOML), checks each table against
`schema` (pydantic, nowhere else), lays the environment over the settings (`sections`, `environment`, `keys`), and
turns `[[job]]` tables into definitions (`jobs`, `triggers`, `params`, `scripts`; `depends` and `density` judge them
with their neighbours and their time in view). What jobs share is read before them (`shared`: `calendars` with their
`ics` files, `blackouts`, pools); a job carries the calendar it uses. It never stops at the first fault:
every problem is collected with file, table, key and line (`report`, `locate`) and raised as one ConfigError, so a
Config that exists is right. What is odd but possible is a warning inside it.

`quick` reads the few keys that a fast command needs, without the schema. `search` finds the file, `places` the
runtime folder. `document` carries a job's definition to the store and back, `diff` and `show` tell people what would
change and what is in force; both hide passwords and the values of `env`.
"""
