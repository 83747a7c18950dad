"""The API, `/api/v1`: what the pages show and do, for programs. `ENTRIES` of its modules are its route table."""
