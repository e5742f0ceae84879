"""Networks: tensors in, tensors out; no files but the weights they are handed, no training loop."""
