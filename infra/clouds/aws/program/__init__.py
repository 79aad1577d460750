"""The resources of a stack on AWS, declared for Pulumi: one noun, one file. Calls no API directly."""
