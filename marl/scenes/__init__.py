"""Moving pictures of episodes: what happened, what each agent did, and its credit beside it.

A module for each kind of task, a table for all others. Plain records in, files out: nothing here
knows environments, networks or the run store.
"""
