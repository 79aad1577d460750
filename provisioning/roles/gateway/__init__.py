"""HAProxy in front of the engine, and the tunnel to an engine on another host. Holds the API keys and TLS."""
