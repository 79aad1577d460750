"""From a serving spec to the command line of an engine. Starts nothing."""
