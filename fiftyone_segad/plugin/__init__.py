"""Translate between a person in the App and the package: operators and panels."""
