"""The form that starts jobs: its settings, and their check by the configuration.

``fields`` is plain data for the screen. ``answer`` asks the configuration; importing
it takes a third of a second, so that the screen does so in a thread.
"""
