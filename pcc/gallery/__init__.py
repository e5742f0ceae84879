"""The gallery: what its page shows, how the layers are encoded, and the page itself."""
