"""What the rows share: the stand-in for an engine, the load generator, other gateways, and figures."""
