"""Category clusters: partitions of the class names, and who proposes them."""
