"""The engines. Whoever uses one sees only `labcloud.providers.base`; engines do not know each other."""
