"""Other queues at the same work, each in an environment of its own, by a script that needs nothing of ours.

A script is called with a place (a folder, or a server's URL), what to do (`call` or `command`) and how often. It makes
its tables, writes all the work down, and prints one line of JSON: how many were done in a second, from the moment its
workers are ready until the last has ended.
"""
