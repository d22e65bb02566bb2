"""The learners: six agents, their memories, the legacy trainer."""
