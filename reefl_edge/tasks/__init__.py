"""Whole tasks for a Python user, each what the command of the same name does.

What a task needs is opened here, and its result is returned: nothing is parsed or shown.
"""
