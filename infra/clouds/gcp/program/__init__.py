"""The resources of a stack on GCP, declared for Pulumi: one noun, one file. Calls no API directly."""
