"""Matcher: asks the engine's own grammars what they allow, with a real model's vocabulary."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from corral.runtime.engine.llama.grammar import LlamaGrammar
from corral.runtime.engine.llama.vocabulary import LlamaVocabulary

Pick = Callable[[Sequence[Any]], Any]
"""Chooses one of several; by chance, or as hypothesis wants it."""


@dataclass
class Matcher:
    """Asks the engine's own grammars, with a real model's vocabulary."""

    vocabulary: LlamaVocabulary

    def __post_init__(self) -> None:
        self.tokens = {piece: token for token in range(self.vocabulary.size) if (piece := self.vocabulary.piece(token))}
        self.end = next(token for token in range(self.vocabulary.size) if self.vocabulary.is_end(token))
        self.all = np.arange(self.vocabulary.size)
        texts = {
            token: text
            for piece, token in self.tokens.items()
            if (text := piece.decode("utf-8", "ignore")).encode() == piece
        }
        chosen = random.Random(1)
        short = [token for token, text in texts.items() if len(text) == 1]
        long = [token for token, text in texts.items() if len(text) > 1]
        self._some = np.array([self.end, *short, *chosen.sample(long, 1000)])
        self._short = {self.end, *short}

    def open(self, grammar: str) -> LlamaGrammar:
        """The grammar at its beginning. Raises GrammarError."""
        return LlamaGrammar(self.vocabulary, grammar, frozenset())

    def fits(self, grammar: str, text: str) -> bool:
        """Whether a text is one that the grammar generates, letter by letter."""
        opened = self.open(grammar)
        try:
            for token in [*(token for letter in text for token in self.spelled(letter)), self.end]:
                if not opened.allowed(np.array([token]))[0]:
                    return False
                if token != self.end:
                    opened.accept(token)
            return True
        finally:
            opened.close()

    def spelled(self, letter: str) -> list[int]:
        """A letter's tokens."""
        raw = letter.encode()
        return [self.tokens[raw]] if raw in self.tokens else [self.tokens[bytes([byte])] for byte in raw]

    def walk(self, grammar: str, pick: Pick, *, patience: int = 40, most: int = 1500) -> str | None:
        """A text that the grammar generates, of tokens taken by chance; after `patience` tokens what closes is preferred.

        None if there was no end to it.
        """
        opened, text = self.open(grammar), b""
        try:
            for count in range(most):
                token = self.next(opened, pick, is_closing=count > patience)
                if token == self.end:
                    return text.decode()
                text += self.vocabulary.piece(token)
                opened.accept(token)
            return None
        finally:
            opened.close()

    def next(self, opened: LlamaGrammar, pick: Pick, *, is_closing: bool) -> int:
        """A token that is allowed, one that closes something if it is wanted and there is one."""
        allowed = self._some[opened.allowed(self._some)].tolist() or self.all[opened.allowed(self.all)].tolist()
        assert allowed, "a dead end"
        return pick(self._closing(allowed) if is_closing else self._varied(allowed, pick))

    def _varied(self, allowed: list[int], pick: Pick) -> list[int]:
        short = [token for token in allowed if token in self._short]
        return short if short and pick([True, True, False]) else allowed

    def _closing(self, allowed: list[int]) -> list[int]:
        is_in_string = {self.tokens[b"x"], self.tokens[b"~"]} <= set(allowed)
        order = [self.tokens[b'"']] if is_in_string else [self.end, *(self.tokens[mark] for mark in (b"}", b"]", b'"'))]
        helpful = [token for token in (self.tokens[bytes([byte])] for byte in b"abc.png@") if token in allowed]
        short = [token for token in allowed if token in self._short]
        return next(([token] for token in order if token in allowed), helpful or short or allowed)
