"""Outcomes and speed of descenso beside its peers. Never part of the test run."""
