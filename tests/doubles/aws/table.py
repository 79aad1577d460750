"""All kinds and functions of the AWS double."""

from tests.doubles.aws.client import Aws
from tests.doubles.aws.kinds import bucket, firewall, identity, instance, interface, network, route, timetable, volume
from tests.doubles.provider.kind import Function, Kind

KINDS: tuple[Kind[Aws], ...] = (
    network.Vpc(),
    network.Subnet(),
    network.InternetGateway(),
    network.RouteTable(),
    network.VpcEndpoint(),
    route.Route(),
    route.RouteTableAssociation(),
    firewall.SecurityGroup(),
    firewall.DefaultSecurityGroup(),
    firewall.IngressRule(),
    firewall.EgressRule(),
    interface.NetworkInterface(),
    interface.Eip(),
    interface.KeyPair(),
    instance.Instance(),
    volume.Volume(),
    volume.VolumeAttachment(),
    identity.Role(),
    identity.RolePolicy(),
    identity.InstanceProfile(),
    timetable.ScheduleGroup(),
    timetable.Schedule(),
    timetable.LogGroup(),
    timetable.Budget(),
    bucket.Bucket(),
    bucket.PublicAccessBlock(),
    bucket.OwnershipControls(),
    bucket.Versioning(),
    bucket.Encryption(),
    bucket.Lifecycle(),
    bucket.Policy(),
)

FUNCTIONS: tuple[Function[Aws], ...] = ()
