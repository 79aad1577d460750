"""What a host or a cloud has of stacks beyond their state: listed, reported by `make orphans`, removed before `up`.

Knows no kind of resource: infra/clouds/ lists and removes them.
"""
