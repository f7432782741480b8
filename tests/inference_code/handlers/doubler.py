"""A handler for tests: doubles a number."""

from inference_code.handler import Handler


class Doubler(Handler):
    batches = True

    def load(self, context):
        self.factor = 2

    def predict(self, items):
        return [{"answer": item["x"] * self.factor, "batch": len(items)} for item in items]
