"""The artifact: model, handler and serving code sealed under one digest."""
