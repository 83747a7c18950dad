"""The portal: what the command line does, in a browser and through an API.

One process of its own: if it dies or drowns, nothing else does. `server` runs it under a supervisor or alone; `app`
puts the routes of `pages/` and `api/` behind one chain of checks that lets nothing through by default:

1. `door`: a Host we go by; no foreign origin on anything but GET; a bounded rate and a bounded body; the headers that
   forbid the browser whatever we do not use.
2. `gate`: who it is (session cookie or bearer token), whether the role of the route's entry allows it, and the
   session's own token on every form.
3. The handler, which is handed a `Call`: `ask` reads in a thread, `act` changes something and writes it into the audit.

No GET changes state. Nothing runs in the browser that does not come from `static/`.
"""
