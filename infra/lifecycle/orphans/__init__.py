"""Resources of stacks that are not in their state. `make orphans` reports them; `up` and `down` remove them.

Does not know the kinds of resources: infra/clouds/ lists and removes them.
"""
