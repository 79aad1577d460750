"""Resources of a stack that still exist on AWS: how each kind is found and removed. Does not use the Pulumi state."""
