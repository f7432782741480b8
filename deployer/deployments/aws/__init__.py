"""What both AWS targets share: steps, notes, polling, checks, what a plan prepares; neither target is known here."""
