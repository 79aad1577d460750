"""What would make `up` fail on AWS, asked before anything is created. Only reads."""
