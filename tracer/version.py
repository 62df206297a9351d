"""The version of nstrace: of the installed package, or of a checkout that is not installed."""

VERSION = "0.1.0"
