"""How the vendor's plugin makes, reads, changes and removes each kind of resource."""
