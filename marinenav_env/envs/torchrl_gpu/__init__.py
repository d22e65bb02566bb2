"""The world on tensors and its TorchRL face."""
