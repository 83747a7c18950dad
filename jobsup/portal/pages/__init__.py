"""The pages, one file per resource; each has `ENTRIES`, the ways into it."""
