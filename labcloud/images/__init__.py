"""Images: build, verify, size and prune what images/ declares. Knows no engine: it is given an `ImageStore`."""
