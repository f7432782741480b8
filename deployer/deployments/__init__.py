"""Decide, show, act: from a specification to something that runs, and back to nothing.

``planner`` looks at what exists and returns a DeployPlan (``plan``), plain data that can be printed, saved
and run later word for word. ``local`` runs one: server processes on this machine (``server``), recorded in
``state`` after every step, so that an interruption leaves nothing unknown behind.
"""
