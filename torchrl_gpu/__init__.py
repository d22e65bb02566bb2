"""The TorchRL pipeline: the legacy schedule, batched."""

__version__ = "0.1.0"
