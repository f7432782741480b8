"""Decide, show, act: a specification becomes a plan, a plan becomes a deployment."""
