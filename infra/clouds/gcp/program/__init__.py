"""The resources of a stack on GCP, declared for Pulumi: one noun, one file. Makes no API call of its own."""
