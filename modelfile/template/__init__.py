"""Go templates and Jinja chat templates: from a conversation to a prompt."""
