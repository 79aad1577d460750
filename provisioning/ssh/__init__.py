"""The way to a host: route, login keys, known hosts, connection, commands. Knows no role and no engine."""
