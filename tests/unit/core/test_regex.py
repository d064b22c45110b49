import pytest

from fastmesh._core import regex


def test_the_whole_text_must_match() -> None:
    matches = regex.compile("/static/[a-z0-9./-]+")
    assert matches(b"/static/site.css") is not None
    assert matches(b"/static/") is None
    assert matches(b"/static/site.css?x") is None
    assert matches(b"a/static/site.css") is None


@pytest.mark.parametrize(
    ("pattern", "complaint"),
    [
        ("a(b", "missing ): a(b"),
        ("[z-a]", "invalid character class range: z-a"),
        (r"(a)\1", r"invalid escape sequence: \1"),
    ],
)
def test_an_invalid_pattern_is_explained(pattern: str, complaint: str) -> None:
    assert regex.check(pattern) == complaint
    with pytest.raises(ValueError) as error:
        regex.compile(pattern)
    assert str(error.value) == complaint


def test_a_pattern_that_would_take_too_much_memory_is_refused() -> None:
    assert regex.check("((a{100}){100}){10}") is not None


def test_a_valid_pattern_has_no_complaint() -> None:
    assert regex.check("/(a|b)*") is None


@pytest.mark.parametrize(
    ("pattern", "literal"),
    [
        ("/static/[a-z]+", "/static/"),
        ("/plain", "/plain"),
        (r"/file\.txt", "/file.txt"),
        (r"/\d+", "/"),
        ("/ab?", "/a"),
        ("/ab*c", "/a"),
        ("/ab{0,2}", "/a"),
        ("/ab+", "/ab"),
        ("/a|/b", ""),
        ("(?i)/a", ""),
        ("/caf\u00e9?", "/caf"),
        (".*", ""),
        ("*", ""),
    ],
)
def test_the_literal_that_every_match_begins_with(pattern: str, literal: str) -> None:
    assert regex.literal_prefix(pattern) == literal
