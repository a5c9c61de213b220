"""What goes to MLflow, and how two runs are compared. It knows nothing about how figures are computed."""
