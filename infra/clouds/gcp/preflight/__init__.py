"""What would make `up` fail on GCP, asked before anything is created. Only reads."""
