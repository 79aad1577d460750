"""Programs for the firewall of a host: its rules, other firewalls beside it, and the trial of new rules.

The rules themselves are in provisioning/templates.
"""
