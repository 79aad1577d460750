"""The causes that would make `up` fail on GCP, checked before anything is created. Only reads."""
