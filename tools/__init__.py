"""Programs that make what a fresh machine lacks."""
