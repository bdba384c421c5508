"""How good a network is: scores with their intervals, calibration and rejection, damaged digits.

May use `errors` to `data`.
"""
