"""Turn a serving spec into the command line and environment of an engine. Starts nothing."""
