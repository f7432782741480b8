"""Nouns to text: HTML, Markdown, JSON. Computes nothing."""
