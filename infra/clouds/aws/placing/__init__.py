"""Where a stack can go on AWS: candidates, stock, images. Creates nothing and does not check quotas."""
