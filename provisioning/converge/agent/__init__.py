"""What runs on the host: looks at it, compares, changes what differs, and says so in one JSON line per event.

Standard library only and Python 3.8, because it is shipped to hosts that have nothing of ours. It is a package and
not one long file because each kind of resource is a thing of its own, and because only the kinds that a list uses
are then compiled on the host. It travels as one zip file (../agent_zip.py). It does not know SSH,
roles or models. Imports are relative: the package is called `agent` on the host.
"""
