"""How fast and how large the lab is, as ratios of two things measured side by side in one run.

`python -m benchmarks.NAME` prints a table for people and, as its last line, one flat JSON object.
"""
