"""The inputs of roles besides the host. Each is made once in a run, when the first role asks for it.

Connects to no host. Makes certificates, keys and tiny models that are missing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from infra.contract.outputs import HostRecord, StackOutputs
from provisioning.access.cloud_login import with_logins
from provisioning.access.credentials import Credentials, credentials_for
from provisioning.access.door_certificates import door_cas, door_certificate
from provisioning.access.engine_key import engine_key
from provisioning.access.tunnel_keys import TunnelKeys, tunnel_keys
from provisioning.converge.resources import Secret
from provisioning.hosts.installed_names import Names, all_names
from provisioning.hosts.topology import HostRole, Topology
from provisioning.hosts.tunnel_end import dialled_end
from serving.sources.resolve import ResolvedSources, resolve_sources


@dataclass(frozen=True)
class RoleInputs:
    """The inputs of one run. Raises ConfigError or UsageError for an unusable file that the config names."""

    outputs: StackOutputs
    keep: bool = True
    """Save newly made keys and certificates. False for a plan, which needs them only for its list."""
    allow_downgrade: bool = False
    """Install this checkout's engine even if the host has a newer one."""
    installed: Mapping[str, Names] | None = None
    """The served names of each host behind the gateway, by the host's name. None: all of them everywhere."""

    @property
    def topology(self) -> Topology:
        """Which roles each host has."""
        return Topology(self.outputs)

    @property
    def names(self) -> Mapping[str, Names]:
        """The served names of each host behind the gateway."""
        return all_names(self.outputs) if self.installed is None else self.installed

    def sources_of(self, host: HostRecord) -> ResolvedSources:
        """Return where the files of a host's model and adapters come from, with the logins to read them."""
        if host.pool not in self._sources:
            self._sources[host.pool] = with_logins(resolve_sources(self.outputs.serving_of(host)))
        return self._sources[host.pool]

    @cached_property
    def _sources(self) -> dict[str, ResolvedSources]:
        """These sources by pool, as far as a host has asked for them."""
        return {}

    @cached_property
    def credentials(self) -> Mapping[str, Credentials]:
        """Certificate and API keys of each gateway, by its host's name; also of hosts that this run leaves out."""
        gateways = self.topology.hosts_with(HostRole.GATEWAY)
        stack, gateway = self.outputs.stack, self.outputs.gateway
        return {host.name: credentials_for(stack, host, gateway, keep=self.keep) for host in gateways}

    @cached_property
    def engine_key(self) -> Secret | None:
        """The key between the gateway's host and the hosts behind it; None if each host has a gateway."""
        return None if self.outputs.gateway_host is None else engine_key(self.outputs.stack, keep=self.keep)

    @cached_property
    def door_cas(self) -> str:
        """PEMs of the CAs that signed the certificates of the hosts behind the gateway."""
        shown = {host.name: self.door_certificate(host) for host in self.topology.hosts_with(HostRole.DOOR)}
        return door_cas(self.outputs.stack, shown, keep=self.keep)

    def door_certificate(self, host: HostRecord) -> Secret:
        """Return certificate and private key of a host behind the gateway."""
        return door_certificate(self.outputs.stack, host, self.outputs.gateway, keep=self.keep)

    @cached_property
    def tunnel_keys(self) -> TunnelKeys | None:
        """The keys that both ends of the tunnel share; None without a tunnel."""
        return None if self.outputs.tunnel is None else tunnel_keys(self.outputs.stack, keep=self.keep)

    @cached_property
    def overflow_keys(self) -> Mapping[str, Secret]:
        """The API key of each provider, by its name. Raises ConfigError for a key that is missing or exposed."""
        overflow = self.outputs.gateway.overflow
        providers = () if overflow is None else overflow.providers
        return {each.name: Secret(each.key.read().get_secret_value()) for each in providers}

    @cached_property
    def dialled_end(self) -> HostRecord | None:
        """The gateway's host with the address and port that the engine's host dials; None without a tunnel."""
        return dialled_end(self.outputs)
