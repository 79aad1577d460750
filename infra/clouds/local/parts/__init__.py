"""The parts of a local machine: record, disk, files, network, limits, the runner that keeps it up, and its remains.

Does not know stacks or Pulumi: infra/clouds/local/machine.py puts the parts together.
"""
