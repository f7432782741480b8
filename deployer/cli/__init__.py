"""Parse, call one ``api`` function, print. The only home of click.

``main`` holds the group and turns every exception into ``error:`` and ``hint:``; the verbs live in modules
that are imported when one of their verbs is called, so that ``deployer --help`` stays quick.
"""
