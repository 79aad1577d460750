"""Resources of a stack that still exist on GCP: how each kind is found and removed. Does not use the Pulumi state."""
