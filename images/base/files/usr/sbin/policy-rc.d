#!/bin/sh
# Packages start no services of their own: what runs on a node is what its supervisor runs.
exit 101
