"""Model folders on disk: reading, checking, storing and naming them without running anything they contain."""
