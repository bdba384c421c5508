"""What two pages or more share: fields, waiting for an answer, the drawing surfaces, the components of our own (.py beside .js).

May use `core`, the frame and `state`.
"""
