"""Settings: what there is to set, where values come from, and writing them back."""
