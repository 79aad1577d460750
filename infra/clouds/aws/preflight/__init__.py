"""The causes that would make `up` fail on AWS, checked before anything is created. Only reads."""
