"""Tables, text and pictures of finished runs."""
