"""Values to charts, pictures and HTML. Knows no screen: its functions return figures, PNG bytes and strings.

May use `errors` to `engine`.
"""
