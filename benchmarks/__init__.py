"""Measurements against other tools. Nothing else imports this, and nothing here is needed to deploy."""
