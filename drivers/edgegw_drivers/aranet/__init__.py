"""Aranet4, Aranet2, Aranet Radiation and Aranet Radon: advertised when the owner allows it."""

from edgegw_drivers.aranet.driver import Aranet

__all__ = ["Aranet"]
