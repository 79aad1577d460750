"""Templates of configuration files, and the function that fills them in. Decides no value."""
