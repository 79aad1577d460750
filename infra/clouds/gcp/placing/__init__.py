"""Where a stack can go on GCP: candidates, stock, images, and what an update would replace. Creates nothing."""
