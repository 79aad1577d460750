"""Replace personal data in a text before it leaves: a hook for LLMClient, e.g. `LLMClient.from_env(mask=mask)`.

It is a second net under text that may leave anyway, and no reason to send text that must not: sensitive text stays on
your own engines, which get it unmasked. It finds what has a fixed form: Korean resident and foreigner registration
numbers, Korean phone numbers, payment cards, Korean bank accounts, mail addresses. What it misses:

- names, addresses, birthdays, companies, licence plates, passports, driving licences, and any free description;
- a number in words, in parts of a text that are joined later, in pictures or files, or with other signs between digits;
- resident numbers whose check digit is wrong: mistyped ones, and since October 2020 new ones have none. Those are found
  only with the dash and a possible birthday;
- account numbers without dashes, unless a bank or 계좌/account stands before them; phone numbers of other countries;
- cards of fewer than 13 or more than 19 digits; digits that are not ASCII.

It also replaces what only looks like these: an order number that passes Luhn is masked as a card. Nothing of what was
found is kept, so an answer has the marks in it too.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

_DASHES = r"[-\u2010-\u2015\u2212\uff0d]"
_GAP = rf"(?:{_DASHES}|[ .\u00a0])"
_START, _END = r"(?<![\dA-Za-z])", r"(?![\dA-Za-z])"

_RESIDENT_WEIGHTS = (2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5)
_CENTURY = {
    "1": 1900,
    "2": 1900,
    "5": 1900,
    "6": 1900,
    "3": 2000,
    "4": 2000,
    "7": 2000,
    "8": 2000,
    "9": 1800,
    "0": 1800,
}
_FOREIGNERS = "5678"
_CARD_DIGITS = range(13, 20)
_ACCOUNT_DIGITS = range(10, 15)
_ACCOUNT_WORDS = r"(?:계좌(?:\s*번호)?|은행|뱅크|농협|신협|수협|우체국|account(?: number| no\.?)?)[은는이가]?\s*:?\s*"
_TEN = 10


@dataclass(frozen=True)
class Pattern:
    """What to look for, and a test of its digits that tells it from other numbers."""

    mark: str
    found: re.Pattern[str]
    is_one: Callable[[str], bool] = lambda _: True
    """Takes the match as it was written."""

    def marked(self, match: re.Match[str]) -> str:
        """Return a match with its number replaced; unchanged if it is another kind of number."""
        whole, number = match.group(0), match.group("number")
        return whole.replace(number, self.mark) if self.is_one(number) else whole


def mask(text: str) -> str:
    """Return `text` with each of PATTERNS replaced by its mark, e.g. [PHONE]."""
    for pattern in PATTERNS:
        text = pattern.found.sub(pattern.marked, text)
    return text


def is_resident_number(written: str) -> bool:
    """Return whether 13 digits are a resident or foreigner registration number.

    With a wrong check digit only if written with a dash: numbers from October 2020 on have none.
    """
    digits = _digits(written)
    if not _is_birthday(digits):
        return False
    total = sum(int(digit) * weight for digit, weight in zip(digits, _RESIDENT_WEIGHTS, strict=False))
    expected = ((13 if digits[6] in _FOREIGNERS else 11) - total % 11) % _TEN
    return expected == int(digits[12]) or len(written) > len(digits)


def _is_birthday(digits: str) -> bool:
    try:
        date(_CENTURY[digits[6]] + int(digits[:2]), int(digits[2:4]), int(digits[4:6]))
    except ValueError:
        return False
    return True


def is_card(written: str) -> bool:
    """Return whether the digits are a payment card's: their number fits, and their sum by Luhn."""
    digits = _digits(written)
    doubled = [int(digit) * 2 for digit in digits[-2::-2]]
    total = sum(map(int, digits[-1::-2])) + sum(value - 9 if value >= _TEN else value for value in doubled)
    return len(digits) in _CARD_DIGITS and total % _TEN == 0 and len(set(digits)) > 1


def is_account(written: str) -> bool:
    """Return whether the digits are as many as those of a Korean bank account."""
    return len(_digits(written)) in _ACCOUNT_DIGITS


def _digits(written: str) -> str:
    return "".join(character for character in written if character.isdigit())


def _pattern(mark: str, number: str, is_one: Callable[[str], bool] = lambda _: True, before: str = "") -> Pattern:
    return Pattern(mark, re.compile(rf"{before}{_START}(?P<number>{number}){_END}", re.IGNORECASE | re.ASCII), is_one)


PATTERNS = (
    Pattern(
        "[EMAIL]",
        re.compile(r"(?P<number>[A-Za-z0-9._%+'-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.)+[A-Za-z]{2,24})(?![A-Za-z0-9])"),
    ),
    _pattern("[RESIDENT NUMBER]", rf"\d{{6}}{_GAP}?[0-9]\d{{6}}", is_resident_number),
    # Mobile, area codes, internet phones and 15xx numbers; at home or with the country's code.
    _pattern(
        "[PHONE]",
        rf"(?:\+?82{_GAP}?(?:\(0\))?|\(?0)(?:1[016789]|2|[3-6][1-5]|70|50\d?)\)?{_GAP}?\d{{3,4}}{_GAP}?\d{{4}}",
    ),
    _pattern("[PHONE]", rf"1[568]\d\d{_DASHES}\d{{4}}"),
    _pattern("[CARD]", rf"\d(?:{_GAP}?\d){{12,18}}", is_card),
    _pattern(
        "[ACCOUNT]",
        rf"\d(?:{_GAP}?\d){{9,13}}",
        is_account,
        before=_ACCOUNT_WORDS,
    ),
    _pattern("[ACCOUNT]", rf"\d{{2,6}}{_DASHES}\d{{2,6}}{_DASHES}\d{{2,7}}(?:{_DASHES}\d{{1,3}})?", is_account),
)
"""In this order: a number is masked by the first pattern that knows it."""
