"""The machine that pageinspect runs on: files, processes, the terminal, capabilities."""
