"""Taking an objective away: one standalone file for other people's code.

    source = export(spec, meta_params, numbers, provenance, "purejaxrl")
    path.write_text(source)
    print(verify(path, spec, meta_params, numbers))

What is exported is the elementwise policy loss: the kernel in `kernels.py`, the same text for every
host, followed by the host's adapter from `hosts.py`. An algorithm whose loss has no such core
(`Algorithm.policy_loss` is None: it learns from whole trajectories, shapes the policy, or is an
optimizer) cannot be expressed as that function, and `export` says so instead of writing half of it.

Importing this package imports no jax; calling `export` or `verify` does.
"""

from discovery.export.hosts import FORMATS
from discovery.export.provenance import Provenance, Score
from discovery.export.verify import VerifyReport, verify
from discovery.export.write import export

__all__ = ["FORMATS", "Provenance", "Score", "VerifyReport", "export", "verify"]
