"""Grafana dashboards as code: what they show, and their JSON, which `make dashboards` writes."""
