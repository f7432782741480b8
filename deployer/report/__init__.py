"""Nouns to text: what a CostReport says, for a reader, a pull request, a terminal and a program.

The road of a report::

    CostReport -> table (rows in words)
               -> findings (data and sentence of each plot), checks, bills, facts
               -> content (all of it in the order of the page)
               -> markdown | webpage (with charts)      rows (JSON, CSV)      terminal
               -> write (four files or none)

It decides nothing: costs, verdicts, order and headline come from ``cost``. What it computes is how to say
them. An unknown is a word and never 0, p99 is stated from a thousand samples up, no score hides a cause,
and no name from outside can act on the page, the comment or the sheet that shows it.
"""
