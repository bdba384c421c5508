"""The content of the Train page: the training's fields, the run under one's eyes, its time machine."""
