"""What a network and its training are, in pure Python: layers, training, cost, presets, the draft being edited, link and script.

May use `errors`. TensorFlow is imported by `keras_model` alone, the one file that constructs layers; only workers load it.
"""
