"""Sources of models and adapters, resolved to exact files, sizes and digests. Downloads nothing to a host."""
