"""How the plugin makes, reads, changes and removes each kind of AWS resource: one noun, one file."""
