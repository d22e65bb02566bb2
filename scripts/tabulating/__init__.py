"""Tabulating room: what evaluations came to, as tables and data files of the commands that print them."""
