"""GCP for tests: a store with the API's own rules, reached by kinds of resources and by a small part of its REST.

cloud      the store behind HTTP, with the providers; `python -m tests.doubles.gcp.cloud`
store      what the project has: put in by the rules, taken out in the order that GCP wants
rules/     what the API refuses: names, labels, scheduling, disks, stock, quotas, what is still in use
rest       the part of Compute, Storage, IAM and others that our own commands ask
seed       what GCP has before anyone makes anything
settings   what a test can change while the cloud runs
table      all kinds
kinds/     one file per noun: how the plugin makes, reads, changes and removes it
"""
