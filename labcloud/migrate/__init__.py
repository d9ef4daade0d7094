"""Moving what runs from one host to another: judged before, watched meanwhile, proved afterwards.

::

    hosts, guests, room ─→ planning (choosing, judging, estimating; caring asks Hadoop) ─→ moving (watches, keeps to a policy) ─→ caring

It knows engines by `labcloud.providers.hosts` alone, and Hadoop by `labcloud.migrate.caring` alone.
"""
