"""Programs that fetch or build what a fresh machine lacks, and the checks of this repository's Makefile and words."""
