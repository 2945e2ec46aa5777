"""After the descent: what kind of point it ended at, with the evidence.

`certify` is for a caller's loss and params; `stationary`, `certificate` and `detectable_gradient` for what a run holds.
"""

from descenso.certificate.batches import BatchGradient, detectable_gradient
from descenso.certificate.certify import Certificate, certificate, certify, from_batches
from descenso.certificate.stationary import Stationarity, stationary
from descenso.certificate.verdict import Verdict
from descenso.certificate.within import stationary_within

__all__ = [
    "BatchGradient",
    "Certificate",
    "Stationarity",
    "Verdict",
    "certificate",
    "certify",
    "detectable_gradient",
    "from_batches",
    "stationary",
    "stationary_within",
]
