"""The `pulumi` of this checkout: what plain `pulumi preview|up|refresh|destroy` needs around the Pulumi CLI.

Decides nothing about a cloud or a stack: `infra/lifecycle` does, for `make up` and for this command alike.
"""
