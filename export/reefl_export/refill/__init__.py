"""How do other arrays go into an exported bundle, without exporting again?

To *refill* is to put the arrays of a model after an update into the places of those before: no
toolchain, no torch.
"""
