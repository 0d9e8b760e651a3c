"""A microphone on a sound card as a sound level meter: sound in, levels out."""

from edgegw_drivers.alsa_slm.driver import AlsaSlm

__all__ = ["AlsaSlm"]
