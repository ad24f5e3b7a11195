"""Where trials run: Ray workers, or this process."""
