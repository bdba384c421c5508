"""The content of the Build page: the stack of layers, edited where its cost is counted."""
