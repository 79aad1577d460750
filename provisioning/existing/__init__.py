"""Hosts that exist already: looked at, judged, and written down as an inventory (`fab adopt`)."""
