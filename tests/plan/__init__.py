"""Tests of the plan: nodes, rules, lowering, explain."""
