"""Write what is generated from the sections anew: the JSON schema and the reference of keys."""

from torchrl_gpu.settings.reference import write

write()
