"""The digits: MNIST and its stand-in, one's own handwriting, digits redrawn by other pens, drawings that are no digits, and
what is measured of them all.

May use `errors` to `runs`. Which data set is in use is decided once, by `dataset`.
"""
