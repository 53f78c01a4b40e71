"""Captioned clips of the public Bandai-Namco-Research-Motiondataset (CC BY-NC 4.0), from a clone of it."""

from m2t_fast.preparation.bandai_namco.licence import LICENCE
from m2t_fast.preparation.bandai_namco.recipe import Made, prepare_bandai_namco
from m2t_fast.preparation.bandai_namco.takes import URL

__all__ = ["LICENCE", "URL", "Made", "prepare_bandai_namco"]
