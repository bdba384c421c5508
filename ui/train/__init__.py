"""The content of the Train page: the training's fields, the live view of the run, its time machine."""
