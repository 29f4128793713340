"""What is a DeiT file of the original release, or of timm?

A backbone under the very names we use, with a final norm and a head that ReeFL does without: each
exit's classifier brings its own norm.

Sources: facebookresearch/deit, models.py; timm, vision_transformer.py.
"""

from reefl_edge.checkpoints.foreign.layout import Layout, Part
from reefl_edge.submodel import ArraySpec


def _parts(spec: ArraySpec) -> tuple[Part, ...]:
    return (Part(spec.name, spec.shape),)


DEIT = Layout(title="DeiT and timm", parts=_parts, dropped=("norm.", "head."))
