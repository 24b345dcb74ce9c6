"""vLLM servers that are started, watched and stopped from here. Nothing of vLLM is imported: it
runs in an environment of its own, by the path of its Python.
"""
