"""A handler for tests: answers after ``s`` seconds; dies, hangs or raises when asked to."""

import os
import signal
import time

from inference_code.handler import Handler


class Moody(Handler):
    batches = True

    def load(self, context):
        pass

    def predict(self, items):
        for item in items:
            match item.get("do"):
                case "die":
                    os.kill(os.getpid(), signal.SIGKILL)
                case "stop":
                    os.kill(os.getpid(), signal.SIGSTOP)
                case "raise":
                    raise RuntimeError("a secret of the model")
            end = time.monotonic() + item.get("spin", 0)
            while time.monotonic() < end:
                pass
            time.sleep(item.get("s", 0))
        return [{"batch": len(items), "pid": os.getpid()} for _ in items]
