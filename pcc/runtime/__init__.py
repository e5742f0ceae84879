"""What every stage runs on: errors, files, progress, processes, devices."""
