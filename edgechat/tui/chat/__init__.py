"""The chat screen: what it composes, and the controllers that own its parts."""
