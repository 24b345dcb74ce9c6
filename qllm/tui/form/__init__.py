"""The form that starts jobs: what can be set, and what becomes of what was set.

The configuration knows the algorithms and so imports torch, which takes seconds and would hold the
display up meanwhile. It is therefore asked in a process of its own (``process`` here, ``answer``
there), and what is exchanged is the plain data of ``fields`` and ``draft``.
"""
