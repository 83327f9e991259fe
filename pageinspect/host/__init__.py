"""The machine that runs pageinspect: files, processes, terminal, capabilities."""
