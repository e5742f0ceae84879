"""A trained network taken out of the results: exported folder, predictor, ONNX, model card."""
