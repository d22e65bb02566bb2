"""Worlds and their building blocks."""
