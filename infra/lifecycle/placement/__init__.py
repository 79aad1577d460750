"""Where a stack is, and where it may go: the known placement, and zones and machine types tried in order.

Asks a cloud only through infra/clouds. Runs no Pulumi engine: the commands beside this folder do.
"""
