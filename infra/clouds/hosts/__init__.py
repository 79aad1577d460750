"""What the Pulumi program of every cloud needs to make a host: names, keys, user data, host records. Calls no API."""
