"""What all tests share."""

from __future__ import annotations

import signal

from hypothesis import HealthCheck, settings

# Whoever runs the tests in the background of a script has SIGINT ignored (POSIX, "Signals and Error Handling" of the shell), and every
# process that is started here inherits that. Some tests press Ctrl-C.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Unit tests run beside those on real engines and give way to them: how long an example takes says nothing.
settings.register_profile("labcloud", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("labcloud")
