"""A text in the languages that people of this package read: English and Korean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

Language = Literal["en", "ko"]
LANGUAGES: tuple[Language, ...] = get_args(Language)


@dataclass(frozen=True)
class Text:
    """One text in both languages."""

    en: str
    ko: str

    def in_language(self, language: Language) -> str:
        """The text in one language."""
        return self.en if language == "en" else self.ko

    def in_languages(self, languages: Sequence[Language]) -> list[tuple[Language, str]]:
        """The text once for each language, with the language's code."""
        return [(language, self.in_language(language)) for language in languages]

    def joined(self, languages: Sequence[Language]) -> str:
        """The text in one line, for headings."""
        return " / ".join(dict.fromkeys(text for _, text in self.in_languages(languages)))
