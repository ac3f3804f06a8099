"""The OCI registry client: transport, pull and push."""
