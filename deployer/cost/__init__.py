"""Run x prices = Bill; bills side by side = CostReport. Decimal money throughout."""
