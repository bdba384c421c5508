"""What two pages or more share: fields, waiting for an answer, the drawing surfaces, our own components (.py beside
.js).

May use `core`, the frame and `state`.
"""
