"""Microphones on sound cards, through the ALSA library. Samples go to one listener, and nowhere else."""

from edgegw.ports.audio.microphone import Microphone

__all__ = ["Microphone"]
