"""When requests come: a TrafficTrace, made (``arrivals``), loaded (``files``) or read from AWS (``logs``).

Every random draw has a seed, and a trace's ``origin`` names it. Nothing is guessed: a file with an unknown
column, an unsorted time or a number that is none is refused with its line.
"""
