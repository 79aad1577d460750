"""What the gateway costs and how it behaves under load: the real HAProxy in front of stand-ins for engines."""
