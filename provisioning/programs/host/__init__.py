"""Programs that read a host: what it is, how it does, whether a folder may hold data. They change nothing."""
