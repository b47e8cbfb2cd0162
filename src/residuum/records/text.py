"""A text in the languages that people of this package read: English and Korean."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

Language = Literal["en", "ko"]
LANGUAGES: tuple[Language, ...] = get_args(Language)


@dataclass(frozen=True)
class Text:
    """One text in both languages."""

    en: str
    ko: str

    @classmethod
    def same(cls, text: str) -> Text:
        """What reads the same in both: numbers, names, formulas."""
        return cls(text, text)

    @classmethod
    def from_json(cls, plain: str | Mapping[str, str]) -> Text:
        """What `to_json` gave."""
        return cls.same(plain) if isinstance(plain, str) else cls(en=plain["en"], ko=plain["ko"])

    def to_json(self) -> str | dict[str, str]:
        """Both, by language; one string where they are the same."""
        return self.en if self.en == self.ko else {"en": self.en, "ko": self.ko}

    def __bool__(self) -> bool:
        return bool(self.en)

    def in_language(self, language: Language) -> str:
        """The text in one language."""
        return self.en if language == "en" else self.ko

    def in_languages(self, languages: Sequence[Language]) -> list[tuple[Language, str]]:
        """The text once for each language, with the language's code."""
        return [(language, self.in_language(language)) for language in languages]

    def joined(self, languages: Sequence[Language]) -> str:
        """The text in one line, for headings."""
        return " / ".join(dict.fromkeys(text for _, text in self.in_languages(languages)))


NOTHING = Text("", "")


def paragraph(sentences: Iterable[Text]) -> Text:
    """Sentences one after another."""
    every = [each for each in sentences if each]
    return Text(" ".join(each.en for each in every), " ".join(each.ko for each in every))
