"""Paths at which HAProxy passes on metrics of programs on loopback: on the gateway's metrics port, or at a door."""

QUEUE = "/queue-metrics"
"""Requests that wait, by class, on the gateway's metrics port. HAProxy's own counters know no class."""
ENGINE = "/engine-metrics"
"""vLLM's own. The one path that the gateway of an engine's own host has."""
WATCH = "/watch-metrics"
NODE = "/node-metrics"
LINES = "/access-metrics"
GPU = "/gpu-metrics"

AT_DOOR = (ENGINE, WATCH, NODE, LINES, GPU)
"""Paths that the engine key opens at a door, if the stack is monitored. The gateway's metrics port has PATH/HOST for
each host behind it."""
