"""The verbs that build a plan."""
