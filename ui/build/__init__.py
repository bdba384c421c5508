"""The content of the Build page: the stack of layers, edited beside its cost."""
