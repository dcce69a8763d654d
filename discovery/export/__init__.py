"""Exporting what was found: one standalone file for use in other code.

    source = export(spec, meta_params, numbers, provenance, "purejaxrl")
    path.write_text(source)
    print(verify(path, spec, meta_params, numbers))

An export has one part of an algorithm (`parts.py`), in a format for such parts: an elementwise policy loss
(`policy_losses.py`), with a host's adapter from `hosts.py`; a mirror map, which is a policy and a loss of
scores (`mirror_maps.py`); a learned optimizer (`optimizers.py`); or a program of any slot (`programs.py`). An
algorithm without such a part (for example with learned targets) is refused.

Importing this package imports no jax; calling `export` or `verify` does.
"""

from discovery.export.parts import FORMATS, formats_of
from discovery.export.provenance import Provenance, Score
from discovery.export.verify import StepsReport, VerifyReport, verify
from discovery.export.write import export

__all__ = ["FORMATS", "Provenance", "Score", "StepsReport", "VerifyReport", "export", "formats_of", "verify"]
