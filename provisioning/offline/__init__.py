"""Bundles: all that a host without network needs, in one archive, and what installs it there (`fab bundle`)."""
