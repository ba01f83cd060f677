"""Measurements; never asserted in a timed test."""
