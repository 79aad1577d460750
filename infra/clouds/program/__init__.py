"""What the Pulumi programs of all clouds share: guards, names, keys, user data, host records. Calls no API."""
