"""Times who does the same work: each in a process of its own, in turn, alone on the machine."""
