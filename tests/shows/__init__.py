"""What rudp must show, as programs: each runs the real thing and prints what it measured.

``python -m tests.shows`` runs them all with small numbers, ``--full`` with the numbers of the
project's bar, ``python -m tests.shows loss cuts`` only some. Bars that are times belong here and
not into the test suite: on a busy machine they say more about the machine.
"""
