"""The queue's edge: take messages from SQS, ask the engine, write each answer once, give up what is poison.

``message`` reads one message and decides its fate, ``queue`` is SQS, ``results`` where answers go, ``run`` the loop
that joins them with the engine, and the drain. boto3 is imported here and nowhere else in this package.

SQS may deliver a message twice, even after it was deleted. Exactly once therefore lies in the results: an answer is
an object that S3 writes only if there is none of that key, and the message is deleted after that.
"""
