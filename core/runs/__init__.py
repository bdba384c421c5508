"""A folder per run, on this machine or at any fsspec URL: what is in it, how far it is, what it may take, who began it.

May use `errors`, `model` and `ink`. Files are written whole or not at all, and what is damaged is an error, never a crash.
"""
