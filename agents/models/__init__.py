"""Agents in files: model folders and traced files, in and out."""
