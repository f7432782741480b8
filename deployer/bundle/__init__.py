"""The artifact: model, handler and serving code sealed under one digest.

``build`` collects the files, lists them in a manifest and writes ``NAME-<first 12 of the digest>.tar.gz``;
``open_bundle`` reads one back, from the archive or from the folder it was unpacked to, and verifies all
of it; ``unpack`` verifies while it writes. A bundle's identity is the sha256 of its manifest, which names
every other member with mode, size and sha256: the same for the same input, however it was compressed.

What it refuses to do: follow a link, write outside the folder it was given, hold more in memory than a
few chunks, leave half a file behind, or hand out one member of a bundle that does not verify as a whole.
"""
