"""`make top`: the live view of a stack. Reads hosts over SSH; needs no Prometheus and changes nothing."""
