"""Prompts for people and judges to read."""

from preftune.groups import Text

__all__ = ["text_of"]


def text_of(prompt: Text) -> str:
    """A prompt as text, one line per turn of a conversation.

    >>> from preftune.groups import Message
    >>> print(text_of((Message("user", "Hi"), Message("assistant", "Hello"))))
    user: Hi
    assistant: Hello
    """
    if isinstance(prompt, str):
        return prompt
    return "\n".join(f"{message.role}: {message.content}" for message in prompt)
