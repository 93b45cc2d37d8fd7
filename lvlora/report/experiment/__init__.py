"""The page of an experiment: what each stage found and cost, and where the errors are."""
