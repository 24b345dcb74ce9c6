"""The form that starts jobs: what can be set, and what becomes of what was set.

``fields`` is plain data for the screen. ``answer`` asks the configuration; importing
it takes a third of a second, so that the screen does so in a thread.
"""
