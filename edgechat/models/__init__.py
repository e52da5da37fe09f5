"""Model folders on disk: read, checked, kept and named, without running anything that is in them."""
