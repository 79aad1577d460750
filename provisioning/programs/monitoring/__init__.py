"""Programs that turn what a host knows into metrics."""
