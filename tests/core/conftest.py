"""How the lab's properties are tried."""

from hypothesis import settings

# The same examples in every run, so that a change alone turns a property red, and as long for each as a loaded machine takes. A
# property over a wide space asks for more than the usual 100, one that builds networks in Keras for fewer.
settings.register_profile("lab", deadline=None, derandomize=True, database=None)
settings.load_profile("lab")
