"""Is this cryo-EM grid worth a full collection, and at which defocus?"""

__version__ = "0.1.0"
