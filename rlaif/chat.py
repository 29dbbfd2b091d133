"""The messages of a chat."""

Messages = list[dict[str, str]]
