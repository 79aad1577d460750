"""Configuration files with gaps, and the function that fills them in. Decides no value."""
