"""Inside a network: the arithmetic of one unit, feature maps, attribution, adversarial changes.

May use `errors` to `evaluation`. TensorFlow is imported by `inspection` alone; only workers load it.
"""
