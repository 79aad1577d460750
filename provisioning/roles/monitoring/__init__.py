"""Prometheus, Alertmanager, exporters and dashboards of a stack. Does not write the log lines that they read."""
