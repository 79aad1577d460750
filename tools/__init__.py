"""Programs that fetch or build what a new machine lacks, and the checks of make variables and of words."""
