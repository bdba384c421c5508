"""Values to charts, pictures and HTML. Knows no screen: what is returned are figures, PNG bytes and strings.

May use `errors` to `engine`.
"""
