"""Hosts become servers: inventory, connection, converge, roles and the Fabric tasks people run. No cloud calls here."""
