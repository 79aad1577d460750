"""The program that runs on the host: it looks, compares, changes what differs, and writes one JSON line per event.

It uses Python 3.8 and the standard library, because hosts have nothing else. It is a package, so that each kind of
resource has its own file and a host compiles only the kinds that a list uses. It travels as one zip file
(../agent_zip.py). It does not know SSH, roles or models. Imports are relative: on the host the package is `agent`.
"""
