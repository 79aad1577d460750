"""How the tasks look on a terminal: arguments, progress, the fab program. Does no work on hosts."""
