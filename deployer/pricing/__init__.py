"""Prices on a date, each with its source: exactly one per key, or an error.

``book`` holds the nouns, ``snapshot`` the embedded prices, ``pricelist`` reads what AWS's Price List says
today. A price that nobody has is absent: it is never derived from another region, size or service.
"""
