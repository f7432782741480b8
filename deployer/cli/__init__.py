"""Parse, call one ``api`` function, print. The only home of click."""
