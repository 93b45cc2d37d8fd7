"""Optional outside trackers of a run: TensorBoard, Trackio, Weights & Biases, MLflow."""
