"""Three nodes, real data, faults: does every call run once, is every byte right?

    python -m rudp.demo              5 % of the datagrams dropped each way, lanes cut at random
    python -m rudp.demo --clean      the same without faults, and without the relay in between

    parent (__main__)  starts, displays, compares the journals, gives the verdict
      |-- member 0, 1, 2    one node each; every handler keeps a journal
      `-- relay             carries every datagram and TCP connection between them, and loses some

The faults are outside of the library: a process between the nodes, which they take for their peers.
"""
