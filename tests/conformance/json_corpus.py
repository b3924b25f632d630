"""RFC 8259 from every corner: texts that are JSON, texts that are not, and texts the RFC leaves to the reader.

`CASES` is (name, verdict, bytes); verdict `y`: must be read, `n`: must be refused, `i`: the RFC leaves it open and
`DECISIONS` says what evcore does and why. Families with regular structure (numbers, escapes, single bytes) are
enumerated by `families`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple


class Case(NamedTuple):
    name: str
    verdict: str
    text: bytes


def _cases(verdict: str, **texts: bytes | str) -> list[Case]:
    return [Case(name, verdict, text.encode() if isinstance(text, str) else text) for name, text in texts.items()]


ACCEPTED = _cases(
    "y",
    array_empty="[]",
    array_of_everything='[null,true,false,0,-1,1.5,"",[],{}]',
    array_with_space_inside="[ \t\r\n1 \t\r\n, \t\r\n2 \t\r\n]",
    array_nested="[[[[[[]]]],[]],[[]]]",
    object_empty="{}",
    object_simple='{"a":1}',
    object_empty_key='{"":0}',
    object_escaped_key='{"\\u0061\\n\\"":0}',
    object_key_nul='{"a\\u0000b":0}',
    object_spaces=' { "a" : [ ] , "b" : { } } ',
    object_long_keys='{"' + "k" * 500 + '":1,"' + "l" * 500 + '":2}',
    object_keys_that_differ_by_escape='{"a":1,"A":2,"\\u0062":3}',
    string_empty='""',
    string_all_short_escapes='"\\"\\\\\\/\\b\\f\\n\\r\\t"',
    string_escaped_nul='"\\u0000"',
    string_escaped_control='"\\u001f\\u007f"',
    string_delete_raw='"\x7f"',
    string_slash_raw='"/"',
    string_surrogate_pair='"\\ud83d\\ude00"',
    string_surrogate_pair_upper='"\\uD83D\\uDE00"',
    string_pair_lowest='"\\ud800\\udc00"',
    string_pair_highest='"\\udbff\\udfff"',
    string_pairs_in_a_row='"\\ud83d\\ude00\\ud83d\\udd0c"',
    string_around_the_surrogates='"\\ud7ff\\ue000"',
    string_raw_astral='"\U0001f600"',
    string_raw_last_code_point='"\U0010ffff"',
    string_raw_two_bytes='"\u0080\u07ff"',
    string_raw_three_bytes='"\u0800\uffff"',
    string_noncharacter_raw='"\ufffe\uffff"',
    string_noncharacter_escaped='"\\ufffe\\uFFFF"',
    string_line_separators='"\u2028\u2029"',
    string_byte_order_mark_inside='"\ufeff"',
    string_comment_inside='"a/*b*/c//d"',
    string_brackets_inside='"[{]},:"',
    string_backslash_runs='"\\\\\\\\\\\\"',
    string_backslash_then_quote='"\\\\\\""',
    string_u_after_backslash_pair='"\\\\u0000"',
    string_combining='"e\u0301"',
    string_long='"' + "x" * 10_000 + '"',
    string_long_escapes='"' + "\\n" * 5_000 + '"',
    string_long_raw='"' + "é" * 5_000 + '"',
    literal_true="true",
    literal_false="false",
    literal_null="null",
    space_all_kinds=" \t\n\r1\r\n\t ",
    number_zero="0",
    number_minus_zero_point="-0.0",
    number_int64_max="9223372036854775807",
    number_int64_min="-9223372036854775808",
    number_uint64_max="18446744073709551615",
    number_largest_double="1.7976931348623157e308",
    number_smallest_subnormal="5e-324",
    number_smallest_normal="2.2250738585072014e-308",
    number_hard_to_round_1="2.2250738585072011e-308",
    number_hard_to_round_2="9007199254740993.0",
    number_hard_to_round_3="0.500000000000000166533453693773481063544750213623046875",
    number_hard_to_round_4="1.00000000000000011102230246251565404236316680908203125",
    number_many_digits="3.14159265358979323846264338327950288419716939937510",
    number_17_digits="0.30000000000000004",
    number_exponent_leading_zeros="1e0000000000000000000010",
    number_huge_exponent_of_zero="0e999999999",
)

REFUSED = _cases(
    "n",
    array_comma_after="[1,]",
    array_comma_before="[,1]",
    array_comma_double="[1,,2]",
    array_comma_only="[,]",
    array_colon="[1:2]",
    array_no_comma="[1 2]",
    array_open="[1",
    array_open_comma="[1,",
    array_closed_twice="[1]]",
    array_closed_by_brace="[1}",
    array_string_open='["a',
    object_comma_after='{"a":1,}',
    object_comma_before='{,"a":1}',
    object_comma_double='{"a":1,,"b":2}',
    object_comma_only="{,}",
    object_no_value='{"a"}',
    object_no_value_colon='{"a":}',
    object_no_colon='{"a" 1}',
    object_two_colons='{"a"::1}',
    object_bare_key="{a:1}",
    object_single_quotes="{'a':1}",
    object_number_key="{1:1}",
    object_null_key="{null:1}",
    object_array_key="{[]:1}",
    object_open="{",
    object_open_key='{"a',
    object_open_value='{"a":1',
    object_closed_by_bracket='{"a":1]',
    object_comma_for_colon='{"a",1}',
    object_semicolon='{"a":1;"b":2}',
    object_garbage_after='{"a":1} x',
    string_open='"',
    string_open_escape='"\\',
    string_open_after_escape='"\\"',
    string_single_quotes="'a'",
    string_bare="abc",
    string_raw_newline='"a\nb"',
    string_raw_tab='"a\tb"',
    string_raw_nul=b'"a\x00b"',
    string_u_short='"\\u00A"',
    string_u_none='"\\u"',
    string_u_braces='"\\u{41}"',
    string_u_not_hex='"\\u00G0"',
    string_u_plus='"\\u+041"',
    string_u_space='"\\u 041"',
    string_u_upper_u='"\\U0041"',
    string_u_fullwidth_digits='"\\u００４１"',
    string_escape_x='"\\x41"',
    string_escape_octal='"\\012"',
    string_escape_apostrophe='"\\\'"',
    string_escape_newline='"\\\n"',
    string_escape_emoji='"\\\U0001f600"',
    string_u_cut_in_pair='"\\ud83d\\ude0"',
    number_plus="+1",
    number_leading_zero="012",
    number_minus_leading_zero="-012",
    number_two_zeros="00",
    number_minus_only="-",
    number_minus_space="- 1",
    number_point_only=".",
    number_point_first=".5",
    number_point_last="1.",
    number_minus_point="-.5",
    number_point_exponent="1.e5",
    number_e_only="1e",
    number_e_plus="1e+",
    number_e_point="1e1.5",
    number_e_twice="1e1e1",
    number_hex="0x10",
    number_octal="0o7",
    number_underscore="1_000",
    number_comma="1,5",
    number_letters="1a",
    number_fullwidth="１",
    number_arabic="٣",
    number_fraction_sign="½",
    number_nan="NaN",
    number_minus_nan="-NaN",
    number_infinity="Infinity",
    number_minus_infinity="-Infinity",
    number_inf="inf",
    number_suffix="1f",
    number_big_suffix="1n",
    literal_upper="TRUE",
    literal_python_true="True",
    literal_python_none="None",
    literal_cut="tru",
    literal_longer="nulll",
    literal_cut_null="nul",
    literal_undefined="undefined",
    literal_two="true false",
    structure_two_values="[][]",
    structure_two_lines="{}\n{}",
    structure_comma_alone=",",
    structure_colon_alone=":",
    structure_close_alone="]",
    structure_close_brace_alone="}",
    structure_comment_block="[1/*c*/]",
    structure_comment_line="[1]//c",
    structure_comment_hash="[1]#c",
    structure_text_after="[] x",
    structure_nul_after=b"[]\x00",
    structure_nul_before=b"\x00[]",
    structure_end_of_text=b"[]\x1a",
    structure_form_feed="[\f]",
    structure_vertical_tab="[\v]",
    structure_no_break_space="[\u00a0]",
    structure_unicode_space="[\u2003]",
    structure_word_joiner="[\u2060]",
    structure_line_separator="\u2028[]",
    structure_html_prefix=")]}',\n[]",
    structure_bracket_in_object='{"a":[}',
    structure_deep_open="[" * 60,
    structure_deep_mixed_open='[{"a":' * 20,
    utf8_continuation_alone=b'"\x80"',
    utf8_cut_two=b'"\xc3"',
    utf8_cut_three=b'"\xe2\x82"',
    utf8_cut_four=b'"\xf0\x9f\x98"',
    utf8_overlong_slash=b'"\xc0\xaf"',
    utf8_overlong_nul=b'"\xc0\x80"',
    utf8_overlong_three=b'"\xe0\x80\xaf"',
    utf8_overlong_four=b'"\xf0\x80\x80\xaf"',
    utf8_surrogate_high=b'"\xed\xa0\x80"',
    utf8_surrogate_low=b'"\xed\xbf\xbf"',
    utf8_surrogate_pair=b'"\xed\xa0\xbd\xed\xb8\x80"',
    utf8_above_last=b'"\xf4\x90\x80\x80"',
    utf8_five_bytes=b'"\xf8\x88\x80\x80\x80"',
    utf8_fe=b'"\xfe"',
    utf8_ff=b'"\xff"',
    utf8_latin_1=b'"\xe9"',
    utf8_bad_outside=b"[\xff]",
    utf8_bad_key=b'{"\xff":1}',
    utf8_cut_at_end=b'["a"]\xc3',
)

OPEN = _cases(
    "i",
    byte_order_mark="\ufeff[]",
    utf_16_little=b"[\x00]\x00",
    utf_16_big=b"\x00[\x00]",
    utf_16_mark=b"\xff\xfe[\x00]\x00",
    utf_32_little=b"[\x00\x00\x00]\x00\x00\x00",
    lone_high='"\\ud800"',
    lone_low='"\\udc00"',
    lone_high_then_text='"\\ud800abc"',
    lone_high_then_escape='"\\ud800\\n"',
    lone_high_then_bmp='"\\ud800\\u0041"',
    lone_two_high='"\\ud800\\ud800\\udc00"',
    lone_reversed='"\\udc00\\ud800"',
    lone_in_key='{"\\udfff":1}',
    number_too_large="1e309",
    number_too_large_negative="-1e309",
    number_far_too_large="1e999999999999",
    number_rounds_up_to_infinity="1.7976931348623159e308",
    number_too_small="1e-400",
    number_far_too_small="-1e-999999999999",
    number_minus_zero="-0",
    number_big_integer="1" + "0" * 100,
    number_128_digits="9" * 128,
    number_129_digits="9" * 129,
    number_129_characters_fraction="0." + "1" * 127,
    number_5000_digits="7" * 5000,
    key_twice='{"a":1,"a":2}',
    key_twice_equal='{"a":1,"a":1}',
    key_twice_by_escape='{"a":1,"\\u0061":2}',
    key_twice_deep='[{"x":{"a":1,"b":2,"a":3}}]',
    depth_60="[" * 60 + "]" * 60,
    depth_61_objects='{"a":' * 60 + "{}" + "}" * 60,
    depth_65="[" * 65 + "]" * 65,
    depth_100000="[" * 100_000 + "]" * 100_000,
    depth_100000_objects='{"a":' * 100_000 + "1" + "}" * 100_000,
    string_at_limit='"' + "x" * 262_144 + '"',
    string_over_limit='"' + "x" * 262_145 + '"',
    string_over_limit_by_escapes='"' + "\\u0041" * 43_691 + '"',
    items_at_limit="[" + ",".join("0" * 16_384) + "]",
    items_over_limit="[" + ",".join("0" * 16_385) + "]",
    members_over_limit="{" + ",".join(f'"{i}":0' for i in range(16_385)) + "}",
    empty="",
    space_only=" \r\n\t",
)

CASES = (*ACCEPTED, *REFUSED, *OPEN)

DECISIONS = {
    "byte_order_mark": (
        "json",
        "RFC 8259 §8.1 lets a reader ignore the mark; OCPP-J sends plain UTF-8, and a mark moves every offset",
    ),
    "utf_16_little": ("json", "§8.1: UTF-8 only; NUL is not white space"),
    "utf_16_big": ("json", "as above"),
    "utf_16_mark": ("utf-8", "0xff never occurs in UTF-8"),
    "utf_32_little": ("json", "as above"),
    "lone_high": ("json", "half a pair is no character: it could not be sent on as UTF-8"),
    "lone_low": ("json", "as above"),
    "lone_high_then_text": ("json", "as above"),
    "lone_high_then_escape": ("json", "as above"),
    "lone_high_then_bmp": ("json", "as above"),
    "lone_two_high": ("json", "as above"),
    "lone_reversed": ("json", "as above"),
    "lone_in_key": ("json", "as above, names are strings too"),
    "number_too_large": ("json", "infinity is not a JSON value and could not be written back"),
    "number_too_large_negative": ("json", "as above"),
    "number_far_too_large": ("json", "as above"),
    "number_rounds_up_to_infinity": ("json", "as above"),
    "number_too_small": (None, "rounds to zero, which is a value"),
    "number_far_too_small": (None, "as above, the sign is kept"),
    "number_minus_zero": (None, "an integer literal gives an int, and int has no negative zero"),
    "number_big_integer": (None, "integers keep their value, whatever their size"),
    "number_128_digits": (None, "as above, at the limit of number_chars"),
    "number_129_digits": ("limit", "number_chars: reading digits costs their square"),
    "number_129_characters_fraction": ("limit", "number_chars holds for every number"),
    "number_5000_digits": ("limit", "as above"),
    "key_twice": (None, "JSON leaves it open: the frame is read (last wins), judging calls it uniqueKeys"),
    "key_twice_equal": (None, "as above"),
    "key_twice_by_escape": (None, "as above, names are compared as they read"),
    "key_twice_deep": (None, "as above"),
    "depth_60": (None, "below the limit even inside a payload's member"),
    "depth_61_objects": (None, "as above"),
    "depth_65": ("limit", "depth 64"),
    "depth_100000": ("limit", "as above, refused without recursion"),
    "depth_100000_objects": ("limit", "as above"),
    "string_at_limit": (None, "string_bytes is inclusive"),
    "string_over_limit": ("limit", "string_bytes"),
    "string_over_limit_by_escapes": ("limit", "string_bytes counts what stands between the quotes"),
    "items_at_limit": (None, "items is inclusive"),
    "items_over_limit": ("limit", "items"),
    "members_over_limit": ("limit", "items holds for objects too"),
    "empty": ("empty", "not a message: some chargers send it as a sign of life"),
    "space_only": ("empty", "as above"),
}
"""For every `i` case: the FrameError reason, or None where it is read; and why."""


def families() -> Iterator[bytes]:
    """Texts made by rule: number spellings, every escape letter, every raw byte in a string and between tokens, \\u
    halves.
    """
    signs, wholes = ("", "-", "+", "--"), ("0", "00", "01", "7", "120", "", "x")
    fractions, exponents = ("", ".", ".0", ".50", "..5"), ("", "e", "e5", "E+5", "e-05", "E-", "e1.5", "e 1")
    for parts in itertools.product(signs, wholes, fractions, exponents):
        yield "".join(parts).encode()
    for byte in range(256):
        one = bytes([byte])
        yield b'"\\' + one + b'0041"'
        yield b'"a' + one + b'b"'
        yield b'"' + one * 2 + b'"'
        yield b"[1" + one + b"]"
        yield one + b"[]" + one
        yield b"[tru" + one + b"]"
        yield b'{"a"' + one + b":1}"
        yield b'"\xe2' + one + b'\xac"'
        yield b'"\xf0' + one + b'\x80\x80"'
        yield b'"\\u00' + one + b'1"'
    halves = ("\\ud7ff", "\\ud800", "\\udbff", "\\udc00", "\\udfff", "\\ue000", "\\u0000", "\\n", "x", "")
    for trio in itertools.product(halves, repeat=3):
        yield ('"' + "".join(trio) + '"').encode()
    whole = '[{"a b":[1.5e3,"\\u00e9\\ud83d\\ude00é",true,null]}, -0.1 ]'.encode()
    for cut in range(len(whole) + 1):
        yield whole[:cut]
        yield whole[cut:]
        yield whole[:cut] + b" " + whole[cut:]
        yield whole[:cut] + whole[cut + 1 :]
