"""Why an answer of a product is refused: no figure is ever made of one that does not fit."""

from __future__ import annotations


class AnswerError(ValueError):
    """A product's answer that is none, or none to what was asked; the message says which and what to do."""


class QueryLimitError(RuntimeError):
    """More would be asked than the limit on queries allows."""
