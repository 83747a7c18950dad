"""The verbs people have: what the command line does, and what a portal will do, written once.

Each verb takes an open `Database` and plain values, changes rows through the store, wakes whoever waits for them
after the commit, and raises a `JobsupError` whose text a person can act on. Nothing here prints.
"""
