"""Send one payload, get one answer."""
