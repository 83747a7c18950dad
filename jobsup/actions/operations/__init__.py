"""Operations: what a program can ask of an instance, each one entry of a table.

One entry says how it is called (`GET /jobs/{name}`), what it takes, who may do it, what the audit calls it, and which
function does it. That function is handed a `Desk` (for whom it works, and with what) and the values that were given;
it returns a JSON document. Three readers go by the table: the portal's API answers with it, its OpenAPI document
describes it, and the command line asks it, here or through a portal far away, so that all say the same.
"""
