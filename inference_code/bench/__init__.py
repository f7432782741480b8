"""Try a model folder on this machine without a server: ``checks`` runs its samples, ``timing`` times it."""
