"""The parts of a stack: a construct per logical unit, each rendering one part of a Resolved, on L1 constructs.

L1 because the deployment's numbers are already decided: nothing here adds a default, a grant or a name.
"""
