"""The digits: MNIST and its stand-in, one's own handwriting, digits redrawn with other pens, drawings that are no
digits, and measures of them all.

May use `errors` to `runs`. Which data set is in use is decided once, by `datasets`.
"""
