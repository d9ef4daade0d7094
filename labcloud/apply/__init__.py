"""Runs a plan: fan-out, retries, journal. Sees engines only through `labcloud.providers.base`."""
