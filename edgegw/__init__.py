"""Gateway for city sensors: reads, signs, keeps and forwards; anybody upstream can verify."""

__version__ = "0.1.0"
