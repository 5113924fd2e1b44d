"""Tests of sinsok, and the real parts they run against (:mod:`tests.stack`)."""
