"""Where models and adapters come from, resolved to exact files, sizes and digests. Downloads nothing to a host."""
