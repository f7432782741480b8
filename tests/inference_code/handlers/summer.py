"""A handler for tests: sums an npy array that it may read in place."""

import os
import signal

from inference_code.handler import Handler


class Summer(Handler):
    batches = True
    takes_views = True

    def load(self, context):
        pass

    def predict(self, items):
        if any(item[0] < 0 for item in items):
            os.kill(os.getpid(), signal.SIGKILL)
        return [float(item.sum()) for item in items]
