"""From a conversation to a prompt, and from tokens to an answer."""
