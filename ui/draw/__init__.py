"""The content of the Draw page: whole numbers."""
