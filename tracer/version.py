"""The version of nstrace: what is installed, and what a checkout says that is not."""

VERSION = "0.1.0"
