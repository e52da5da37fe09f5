"""Settings: their definitions, where their values come from, and saving them."""
