"""An experiment from start to end: groups, the loop, signals, measurements."""
