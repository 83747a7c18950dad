"""How a command talks to a running supervisor: JSON lines over a Unix socket in its runtime folder.

A client connects, sends one request (`{"do": "reload", ...}`) and reads replies: any number of
`{"line": "..."}` for a person, then one `{"done": true, "exit_code": n, ...}`. The socket is reachable by its
owner alone (mode 0600 in a folder of mode 0700), and the server asks the kernel who is calling. Requests go
through a fixed table of verbs. Everything is bounded: message size, number of clients, time to speak.
"""
