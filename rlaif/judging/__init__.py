"""What compares or rates candidates: prompt files, judge files, judges, verdicts and what they come to."""
