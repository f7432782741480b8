"""Send a payload to a server and get its answer.

``base`` holds the words (Body, Answer, Endpoint, Invoker), ``http`` one request at a time over plain
HTTP, ``connection`` the keep-alive connection that the load generator keeps many of.
"""
