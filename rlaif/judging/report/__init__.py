"""The judge report: how far a judge agrees with people, what it prefers for the wrong reasons, and what it costs."""
