"""The command line: one file per noun, loaded when its verb is asked for.

Standard output carries data and nothing else; messages go to standard error. Every verb ends with a code of
`jobsup.errors.ExitCode`, and an error is one line a problem, never a traceback. What a verb *does* stands in
`jobsup.actions`; here it is read from words and shown to a person, or as versioned JSON to a program.
"""
