"""The parts of `desktop`: the machine (X server, applications, HTTP server), OSWorld's class in a process of its own, the tasks."""
