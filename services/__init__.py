"""Our programs that stay running on hosts, one package each; roles install them as hardened systemd units.

Hosts have their files and neither the other packages of this project nor the checkout. Python 3.10 and the standard
library, except for a service whose role also builds the locked environment.
"""
