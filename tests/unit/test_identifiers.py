"""Numbers of people, organisations and municipalities. All numbers here are made up or published examples."""

import random
from copy import copy
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stdnum.no import fodselsnummer, orgnr

from agent.domain.identifiers import (
    IdentityNumber,
    Problem,
    check_number,
    her_id_problem,
    is_synthetic,
    kommunenummer_problem,
    looks_like_identity_number,
    made_up_organisation_number,
    organisation_number_problem,
    tenor_number,
    type_from_digits,
)

# Published in the register of legal entities.
PILOT_ORGANISATIONS = ["820956532", "964965692", "940039541", "991891919", "964966109", "964966397", "964966575"]


def with_check_digits(nine: str) -> str | None:
    """The check digits as they were before 2032, written out a second time."""
    first = -sum(int(d) * w for d, w in zip(nine, (3, 7, 6, 1, 8, 9, 4, 5, 2), strict=True)) % 11
    second = -sum(int(d) * w for d, w in zip(f"{nine}{first}"[:10], (5, 4, 3, 2, 7, 6, 5, 4, 3, 2), strict=True)) % 11
    return None if 10 in {first, second} else f"{nine}{first}{second}"


def number(day: int, month: int, year: int) -> str:
    return next(
        made for serial in range(1000) if (made := with_check_digits(f"{day:02}{month:02}{year % 100:02}{serial:03}"))
    )


def duf(ten: str) -> str:
    return f"{ten}{sum(int(d) * w for d, w in zip(ten, (4, 6, 3, 2, 4, 6, 3, 2, 7, 5), strict=True)) % 11:02}"


TENOR = number(17, 85, 1938)
TENOR_D = number(57, 85, 1938)
DOLLY = number(17, 45, 1938)
DOLLY_D = number(57, 45, 1938)
DUF = duf("2020123456")
FELLES = with_check_digits("812345678") or with_check_digits("812345679")
assert FELLES


@pytest.mark.parametrize("example", ["02013299997", "30108299920", "30108299939"])
def test_worked_examples_of_the_rule_from_2032(example: str) -> None:
    assert check_number(example, "1") is None


@pytest.mark.parametrize("left", [0, 1, 2, 3])
def test_first_check_digit_may_leave_nought_to_three(left: int) -> None:
    found = 0
    for serial in range(200):
        nine = f"178538{serial:03}"
        weighted = sum(int(d) * w for d, w in zip(nine, (3, 7, 6, 1, 8, 9, 4, 5, 2), strict=True))
        first = (11 + left - weighted) % 11
        second = (
            -sum(int(d) * w for d, w in zip(f"{nine}{first}"[:10], (5, 4, 3, 2, 7, 6, 5, 4, 3, 2), strict=True)) % 11
        )
        if first < 10 and second < 10:
            found += 1
            assert check_number(f"{nine}{first}{second}", "1") is None
    assert found > 50


def test_four_in_eleven_first_digits_are_right_and_one_second() -> None:
    stem = TENOR[:9]
    right = [f"{stem}{last:02}" for last in range(100) if check_number(f"{stem}{last:02}", "1") is None]
    assert TENOR in right
    assert len(right) <= 4
    assert len({each[9] for each in right}) == len(right)


@pytest.mark.parametrize("identity_type", ["1", "2", "3"])
@pytest.mark.parametrize("text", [TENOR, TENOR_D, DOLLY, DOLLY_D])
def test_types_1_2_and_3_share_one_checksum(text: str, identity_type: str) -> None:
    assert check_number(text, identity_type) is None


@pytest.mark.parametrize(
    ("text", "identity_type", "problem"),
    [
        ("", "1", Problem.MISSING),
        ("   ", "4", Problem.MISSING),
        (TENOR[:10], "1", Problem.LENGTH),
        (TENOR + "0", "1", Problem.LENGTH),
        (f"{TENOR[:6]} {TENOR[6:]}", "1", Problem.NOT_DIGITS),
        (TENOR[:10] + "x", "2", Problem.NOT_DIGITS),
        ("١٧٨٥٣٨٠٠٠٨٢", "1", Problem.NOT_DIGITS),
        (f"{TENOR[:10]}{(int(TENOR[10]) + 1) % 10}", "3", Problem.CHECK_DIGITS),
        (with_check_digits("001338001") or with_check_digits("001338002"), "1", Problem.DATE),
        (number(32, 85, 1938), "1", Problem.DATE),
        (number(17, 93, 1938), "1", Problem.DATE),
        (number(17, 13, 1938), "1", Problem.DATE),
        (number(31, 84, 1938), "1", Problem.DATE),
        (number(29, 82, 1939), "1", Problem.DATE),
        (FELLES, "1", Problem.DATE),
        (DUF, "1", Problem.LENGTH),
        (DUF[:-1] + str((int(DUF[-1]) + 1) % 10), "10", Problem.CHECK_DIGITS),
        (DUF[:-1], "10", Problem.LENGTH),
        ("20201234567x", "10", Problem.NOT_DIGITS),
        ("A" * 21, "9", Problem.TOO_LONG),
        ("A\x00", "4", Problem.NOT_WRITABLE),
        ("A\nB", "9", Problem.NOT_WRITABLE),
    ],
)
def test_a_wrong_number_is_refused_with_the_reason(text: str, identity_type: str, problem: Problem) -> None:
    assert check_number(text, identity_type) is problem


@pytest.mark.parametrize(
    ("text", "identity_type"),
    [
        (number(29, 82, 1940), "1"),
        (number(29, 82, 2000), "1"),
        (DUF, "10"),
        (FELLES, "12"),
        ("A" * 20, "9"),
        ("X1", "4"),
    ],
)
def test_a_right_number_passes(text: str, identity_type: str) -> None:
    assert check_number(text, identity_type) is None


def test_no_reason_quotes_a_digit_of_the_number() -> None:
    assert all(not set("3456789") & set(problem.value) for problem in Problem)


def test_tenor_is_synthetic_whatever_its_type() -> None:
    assert all(is_synthetic(text, identity_type) for text in (TENOR, TENOR_D) for identity_type in ("1", "2", "3", "9"))


def test_month_plus_40_is_synthetic_only_for_types_1_and_2() -> None:
    assert is_synthetic(DOLLY, "1")
    assert is_synthetic(DOLLY_D, "2")
    assert not is_synthetic(DOLLY, "3")
    assert not is_synthetic(DOLLY, "9")


def test_what_is_not_synthetic() -> None:
    real_series = "02013299997"  # published as an example, of the ordinary series
    wrong = f"{TENOR[:10]}{(int(TENOR[10]) + 1) % 10}"
    assert not any(is_synthetic(text, "1") for text in (real_series, wrong, DUF, FELLES, "", "x"))


def test_type_from_digits() -> None:
    assert type_from_digits(TENOR) == "1"
    assert type_from_digits(TENOR_D) == "2"
    assert type_from_digits(FELLES) == "12"
    assert type_from_digits("9" + FELLES[1:]) == "12"
    assert type_from_digits(DUF) == "10"
    assert type_from_digits("") == "1"
    assert type_from_digits("4567") == "1"


def test_keys_that_hold_an_identity_number() -> None:
    for held in (TENOR, TENOR_D, DOLLY, FELLES, DUF, "02013299997"):
        assert looks_like_identity_number(held)
        assert looks_like_identity_number(f"4602-{held}")
        assert looks_like_identity_number(f"a{held}b")
    assert looks_like_identity_number(f"{TENOR[:6]} {TENOR[6:]}")


def test_keys_that_hold_none() -> None:
    assert not looks_like_identity_number("")
    assert not looks_like_identity_number("1001")
    assert not looks_like_identity_number(f"1{TENOR}")
    assert not looks_like_identity_number(f"{TENOR}00")
    assert not looks_like_identity_number(f"{TENOR[:10]}{(int(TENOR[10]) + 1) % 10}")
    assert not looks_like_identity_number(f"0a1b2c3d-1111-2222-3333-{DUF}")
    assert not looks_like_identity_number(f"0a1b2c3d-1111-2222-3333-a{TENOR}")


def test_an_identity_number_never_shows_itself() -> None:
    hidden = IdentityNumber(TENOR)
    shown = f"{hidden!r} {hidden} {hidden!s:>40} {[hidden]} {copy(hidden)}"
    assert TENOR not in shown
    assert hidden.reveal() == TENOR
    assert hidden == IdentityNumber(TENOR)
    assert hidden != IdentityNumber(TENOR_D)
    assert len({hidden, IdentityNumber(TENOR)}) == 1


@pytest.mark.parametrize("text", PILOT_ORGANISATIONS)
def test_registered_organisation_numbers_pass(text: str) -> None:
    assert organisation_number_problem(text) is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "missing"),
        ("", "missing"),
        ("  ", "missing"),
        ("utenbys", "nine digits"),
        ("reha", "nine digits"),
        ("82095653", "nine digits"),
        ("8209565320", "nine digits"),
        (" 820956532", "nine digits"),
        ("８２０９５６５３２", "nine digits"),
        ("999999999", "stands for nobody"),
        ("809999997", "below 810000000"),
        ("123456785", "below 810000000"),
        ("820956533", "check digit"),
    ],
)
def test_organisation_numbers_are_refused_with_the_reason(text: str | None, reason: str) -> None:
    problem = organisation_number_problem(text)
    assert problem is not None
    assert reason in problem


def test_kommunenummer() -> None:
    assert kommunenummer_problem("0301") is None
    assert all(kommunenummer_problem(text) for text in ("301", "03010", "0000", "", "46o2", "４６０２"))


def test_her_id() -> None:
    assert her_id_problem("8139520") is None
    assert all(her_id_problem(text) for text in ("", "0", "0815", "-1", "1.0", "1234567890", TENOR, "x"))


def test_made_up_numbers_are_right_and_seldom_missing() -> None:
    days = [date(1931, 1, 1) + timedelta(days=37 * step) for step in range(300)]
    made = [tenor_number(day, step % 1000, d_number=step % 2 == 0) for step, day in enumerate(days)]
    right = [text for text in made if text]
    assert len(right) > 200
    assert all(check_number(text, "1") is None and is_synthetic(text, "1") for text in right)
    organisations = [text for serial in range(300) if (text := made_up_organisation_number(serial))]
    assert len(organisations) > 250
    assert all(organisation_number_problem(text) is None for text in organisations)
    assert made_up_organisation_number(18_999_999) is None
    with pytest.raises(ValueError, match="serial"):
        tenor_number(date(1940, 1, 1), 1000)
    with pytest.raises(ValueError, match="serial"):
        made_up_organisation_number(-1)


def test_what_python_stdnum_accepts_we_accept() -> None:
    """A cross-check, not the rule: stdnum refuses Tenor, felles hjelpenummer and the digits valid from 2032."""
    chance = random.Random(56)
    both = 0
    for _ in range(4000):
        month = chance.randint(1, 12) + chance.choice((0, 40))
        day = chance.randint(1, 31) + chance.choice((0, 40))
        text = with_check_digits(f"{day:02}{month:02}{chance.randint(0, 99):02}{chance.randint(0, 999):03}")
        if text and fodselsnummer.is_valid(text):
            both += 1
            assert check_number(text, "1") is None
    assert both > 500


def test_what_python_stdnum_refuses_for_its_digits_passes_only_by_the_rule_from_2032() -> None:
    chance = random.Random(2032)
    passed = 0
    for _ in range(4000):
        text = f"{chance.randint(1, 28):02}{chance.randint(41, 52):02}{chance.randint(0, 9_999_999):07}"
        left = sum(int(d) * w for d, w in zip(text[:10], (3, 7, 6, 1, 8, 9, 4, 5, 2, 1), strict=True)) % 11
        digits = fodselsnummer.calc_check_digit1(text), fodselsnummer.calc_check_digit2(text)
        right = check_number(text, "1") is None
        passed += right
        assert right == (left in {0, 1, 2, 3} and digits[1] == text[10])
        assert not (digits == (text[9], text[10]) and not right)
    assert passed > 50


def test_organisation_numbers_agree_with_python_stdnum_within_our_range() -> None:
    chance = random.Random(991)
    for _ in range(4000):
        text = str(chance.randint(810_000_000, 999_999_998))
        assert orgnr.is_valid(text) == (organisation_number_problem(text) is None)
    assert orgnr.is_valid("999999999")


@given(st.text(max_size=30))
def test_no_text_is_too_odd(text: str) -> None:
    type_from_digits(text)
    looks_like_identity_number(text)
    organisation_number_problem(text)
    kommunenummer_problem(text)
    her_id_problem(text)
    for identity_type in ("1", "2", "3", "9", "10", "12", "?"):
        check_number(text, identity_type)
        is_synthetic(text, identity_type)
