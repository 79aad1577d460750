"""The module of the provider of local machines before 0.2.0. The state of a stack of 0.1.0 names it.

The Pulumi engine imports that name to read or remove such a machine, so without this module a plain `pulumi destroy`,
`refresh` and `up` fail. The first `up` with 0.2.0 writes the new name into the state. Remove this folder in 0.3.0.
"""

from infra.clouds.local.provider import LocalMachineProvider

__all__ = ["LocalMachineProvider"]
