"""One module a plot: data of ``findings`` to a matplotlib figure, for a page of a given width in pixels."""
