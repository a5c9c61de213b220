"""Everything that runs have left in their folders, on one HTML page: trainings, evaluations, benchmarks, episodes.

It reads files only. It knows no model and no MLflow; what is damaged or missing is said on the page, and the rest is shown.
"""
