"""The compiled training loop, augmentation, the learning-rate range test, fine-tuning, and the doctor's findings in a history.

May use `errors` to `explain`. TensorFlow is imported by `loop` and `augmentation` alone; only workers load them.
"""
