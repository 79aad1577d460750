"""AWS for tests: kinds of resources that call moto, and moto behind a gate with AWS's own manners.

cloud      moto in server mode, seeded, behind the gate, with the providers; `python -m tests.doubles.aws.cloud`
gate       what AWS does and moto does not: stock-outs, refusals, deletion order, states that take a while
settings   what a test can change while the cloud runs
table      all kinds and functions
kinds/     one file per noun: how the plugin makes, reads, changes and removes it
"""
