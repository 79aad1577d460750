"""The `serving` and `gateway` sections of a stack file: models and rules. Imports no other folder of serving/."""
