"""From what was drawn on a canvas or a pad, or stands on a photo, to 28 x 28 pixels as MNIST has them.

May use `errors`. Strokes are geometry, in CSS pixels of the sheet; ink is (h, w) float32, 0 paper to 1 ink; a digit that leaves
the room is (28, 28) uint8, 255 ink on 0 paper.
"""
