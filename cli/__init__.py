"""The command line: one file per verb; all wiring of concrete parts happens here."""
