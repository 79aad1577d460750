"""What a stack would be, and what it costs: `make preview`, the table of stacks, the speed of the data volume.

Creates nothing. Whether a cloud would refuse it is checked in infra/lifecycle/preflight/.
"""
