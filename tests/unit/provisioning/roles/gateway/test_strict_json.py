"""The check of request bodies: what it accepts and refuses, and the fields that it returns."""

import json
import random
from typing import Any

import pytest

from tests.lua import RUNTIMES, Checked, json_check, lua_module, python
from tests.strict_reader import strict_value

DEEP = 64


@pytest.fixture(params=sorted(RUNTIMES))
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def check(version: str, text: bytes) -> Checked:
    return json_check(version)(text)


def nested(depth: int) -> bytes:
    """Return an object that is `depth` deep, itself included."""
    return b'{"a":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"


ACCEPTED = {
    "empty object": b"{}",
    "white space": b' \t\r\n{ "a" :\n[ 1 , 2 ]\t, "b" : { } } \n',
    "all kinds": b'{"a":"x","b":-1.5e+3,"c":true,"d":false,"e":null,"f":[],"g":{}}',
    "escapes": rb'{"a":"\"\\\/\b\f\n\r\t\u0041\u00e9\ud55c\uD83D\uDE00"}',
    "an escaped backslash before a quote": rb'{"a":"\\","b":"\\\\\\\""}',
    "an escaped backslash before what looks like an escape": rb'{"a":"\\ud800","b":"\\x"}',
    "many escapes": b'{"a":"' + rb"\n" * 100 + rb"\u1234" * 100 + rb"\ud83d\ude00" * 20 + rb"\u0041" * 20 + b'"}',
    "escapes by pieces": b'{"a":"' + rb"\\\"\n" * 20_000 + b'"}',
    "escapes by pieces, an odd one first": b'{"a":"x' + rb"\\\"\n" * 20_000 + b'"}',
    "only backslashes, by pieces": b'{"a":"' + b"\\" * 70_000 + b'"}',
    "only backslashes after an odd one": b'{"a":"x' + b"\\" * 70_000 + b'"}',
    "Korean": '{"a":"안녕하세요, 한국어 힣","모델":"퟿"}'.encode(),
    "four bytes of UTF-8": '{"a":"😀\U0010ffff"}'.encode(),
    "DEL, and noncharacters": b'{"a\x7f":"\x7f\xef\xbf\xbf"}',
    "a byte order mark inside a string": b'{"a":"\xef\xbb\xbf"}',
    "what looks like a comment": b'{"a":"/* // # NaN"}',
    "deepest": nested(DEEP),
    "deep again after closing": b'{"a":[' + b"[[]]," * 100 + b"1]}",
    "largest integers": b'{"a":[9007199254740991,-9007199254740991]}',
    "largest double": b'{"a":[1.7976931348623157e308,-1.7976931348623157E+308,1e-400]}',
    "zeros": b'{"a":[0,-0,0.0,-0.0,0e0,0,0]}',
    "many integers": b'{"a":[' + b"1, 20,300 ,4000,\n" * 50 + b"0]}",
    "the same key in two objects": b'{"a":{"b":1},"c":{"b":1},"b":[{"b":1},{"b":1}]}',
    "keys that differ late": b'{"%s1":1,"%s2":1,"%s":1}' % (b"k" * 62, b"k" * 62, b"k" * 62),
    "keys that differ in case": b'{"tools":[{"id":1,"ID":2}],"a":1,"A":2}',
    "the empty key": b'{"":1}',
}

REFUSED: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "empty"),
    "white space only": (b" \n", "empty"),
    "byte order mark": (b"\xef\xbb\xbf{}", "bom"),
    "UTF-16": ('{"a":1}'.encode("utf-16-le"), "control"),
    "a lone byte": (b'{"a":"\xff"}', "utf8"),
    "a lone continuation": (b'{"a":"\x80"}', "utf8"),
    "a sequence cut off": (b'{"a":"\xed\x95"}', "utf8"),
    "overlong slash": (b'{"a":"\xc0\xaf"}', "utf8"),
    "overlong in three bytes": (b'{"a":"\xe0\x80\xaf"}', "utf8"),
    "overlong in four bytes": (b'{"a":"\xf0\x80\x80\xaf"}', "utf8"),
    "beyond Unicode": (b'{"a":"\xf4\x90\x80\x80"}', "utf8"),
    "five bytes": (b'{"a":"\xf8\x88\x80\x80\x80"}', "utf8"),
    "an encoded surrogate": (b'{"a":"\xed\xa0\x80"}', "utf8"),
    "an encoded pair": (b'{"a":"\xed\xa0\xbd\xed\xb8\x80"}', "utf8"),
    "the last surrogate after Korean": ('{"a":"한국어'.encode() + b'\xed\xbf\xbf"}', "utf8"),
    "a surrogate after many such letters": (b'{"a":"' + "한".encode() * 9000 + b'\xed\xa0\x80"}', "utf8"),
    "a surrogate in a key": (b'{"a\xed\xa0\x80":1}', "utf8"),
    "NUL": (b'{"a":"\x00"}', "control"),
    "a stand-in for an escape": (b'{"a":"\x01"}', "control"),
    "an odd number of backslashes, by pieces": (b'{"a":"' + b"\\" * 70_001 + b'"}', "incomplete"),
    "a backslash at the end": (b'{"a":"' + b"\\" * 70_001, "incomplete"),
    "NUL outside strings": (b'{"a":1}\x00', "control"),
    "vertical tab": (b'{\x0b"a":1}', "control"),
    "newline in a string": (b'{"a":"b\nc"}', "control"),
    "tab in a key": (b'{"a\tb":1}', "control"),
    "return after an escape": (b'{"a":"\\n\r"}', "control"),
    "newline in the second string": (b'{"a":\n"b","c":"d\n"}', "control"),
    "a list": (b"[]", "not_object"),
    "a string": (b'"a"', "not_object"),
    "null": (b"null", "not_object"),
    "no end": (b"{", "incomplete"),
    "no end after a key": (b'{"a"', "incomplete"),
    "no end after a colon": (b'{"a":', "incomplete"),
    "no end after a value": (b'{"a":1', "incomplete"),
    "no end of a string": (b'{"a":"b', "incomplete"),
    "no end after an escape": (b'{"a":"b\\"', "incomplete"),
    "no end within an escape": (b'{"a":"b\\', "incomplete"),
    "no end of a list": (b'{"a":[1', "incomplete"),
    "no end of an inner list": (b'{"a":[[1]}', "syntax"),
    "no colon": (b'{"a" 1}', "syntax"),
    "no comma": (b'{"a":1 "b":2}', "syntax"),
    "no comma in a list": (b'{"a":[1 2]}', "syntax"),
    "no value": (b'{"a":}', "syntax"),
    "single quotes": (b"{'a':1}", "syntax"),
    "no quotes": (b"{a:1}", "syntax"),
    "capital True": (b'{"a":True}', "syntax"),
    "a longer word": (b'{"a":nullx}', "syntax"),
    "undefined": (b'{"a":undefined}', "syntax"),
    "two commas": (b'{"a":[1,,2]}', "syntax"),
    "a comma first": (b'{,"a":1}', "syntax"),
    "no-break space": (b'{"a":\xc2\xa01}', "syntax"),
    "line comment": (b'{"a":1 // b\n}', "comment"),
    "block comment": (b'{/* b */"a":1}', "comment"),
    "hash": (b'{"a":# b\n1}', "comment"),
    "NaN": (b'{"a":NaN}', "constant"),
    "Infinity": (b'{"a":[Infinity]}', "constant"),
    "minus Infinity": (b'{"a":-Infinity}', "constant"),
    "leading zero": (b'{"a":01}', "number"),
    "leading zero in a list": (b'{"a":[1,2,3,4,5,6,7,8,9,010]}', "number"),
    "minus and leading zero": (b'{"a":-01}', "number"),
    "plus": (b'{"a":+1}', "number"),
    "no digits before the point": (b'{"a":.5}', "number"),
    "no digits after the point": (b'{"a":1.}', "number"),
    "no exponent": (b'{"a":1e}', "number"),
    "minus alone": (b'{"a":-}', "number"),
    "hexadecimal": (b'{"a":0x1}', "syntax"),
    "underscore": (b'{"a":1_0}', "syntax"),
    "integer beyond 2^53": (b'{"a":9007199254740992}', "large_number"),
    "negative integer beyond 2^53": (b'{"a":-9007199254740992}', "large_number"),
    "integer in a list": (b'{"a":[1,2,3,4,5,6,7,8,99999999999999999999]}', "large_number"),
    "double that overflows": (b'{"a":1e309}', "large_number"),
    "negative double that overflows": (b'{"a":-1e309}', "large_number"),
    "integer of a thousand digits": (b'{"a":' + b"1" * 1000 + b"}", "large_number"),
    "fraction of a thousand digits": (b'{"a":0.' + b"1" * 1000 + b"}", "large_number"),
    "unknown escape": (rb'{"a":"\x41"}', "escape"),
    "escaped single quote": (rb'{"a":"\'"}', "escape"),
    "three digits": (rb'{"a":"\u041"}', "escape"),
    "unknown escape among many": (b'{"a":"' + rb"\n" * 20 + rb'\q"}', "escape"),
    "bad digits among many": (b'{"a":"' + rb"\u1234" * 20 + rb'\u12g4"}', "escape"),
    "lone high surrogate": (rb'{"a":"\ud800"}', "surrogate"),
    "lone low surrogate": (rb'{"a":"\udc00"}', "surrogate"),
    "two high surrogates": (rb'{"a":"\ud83d\ud83d\ude00"}', "surrogate"),
    "high surrogate and a letter": (rb'{"a":"\ud83dx"}', "surrogate"),
    "surrogate among many": (b'{"a":"' + rb"\u1234" * 20 + rb"\udead" + rb"\u1234" * 20 + b'"}', "surrogate"),
    "surrogate in a key": (rb'{"\ud800":1}', "surrogate"),
    "trailing comma in an object": (b'{"a":1,}', "trailing_comma"),
    "trailing comma in a list": (b'{"a":[1, ]}', "trailing_comma"),
    "a key twice": (b'{"model":"a","model":"b"}', "duplicate_key"),
    "a key twice, further inside": (b'{"a":[{"b":{"c":1,"c":1}}]}', "duplicate_key"),
    "a key twice, once escaped": (rb'{"model":"a","mod\u0065l":"b"}', "duplicate_key"),
    "a key twice, escaped in two ways": (rb'{"\ud55c\n":1,"\uD55C\u000a":1}', "duplicate_key"),
    "a long key twice": (b'{"%s":1,"%s":1}' % (b"k" * 62, b"k" * 62), "duplicate_key"),
    "a long key twice, once escaped": (b'{"%s":1,"%s\\u006b":1}' % (b"k" * 62, b"k" * 61), "duplicate_key"),
    "the empty key twice": (b'{"":1,"":1}', "duplicate_key"),
    "many long keys with escapes": (
        b"{" + b",".join(b'"\\n%031d":1' % number for number in range(1001)) + b"}", "escaped_keys",
    ),
    "a known key in capitals": (b'{"model":"a","Model":"b"}', "key_case"),
    "one capital": (b'{"max_Tokens":5}', "key_case"),
    "long s": ('{"me\u017f\u017fages":[]}'.encode(), "key_case"),
    "Kelvin sign": ('{"max_to\u212aens":5}'.encode(), "key_case"),
    "an option in capitals": (b'{"options":{"NUM_PREDICT":5}}', "key_case"),
    "too deep": (nested(DEEP + 1), "depth"),
    "too deep by objects": (b'{"a":' * (DEEP + 1) + b"1" + b"}" * (DEEP + 1), "depth"),
    "much too deep": (b'{"a":' + b"[" * 1_000_000, "depth"),
    "a second object": (b"{}{}", "after_end"),
    "a word after it": (b"{} x", "after_end"),
}  # fmt: skip


@pytest.mark.parametrize("name", ACCEPTED)
def test_accepted(version: str, name: str) -> None:
    fields, reason = check(version, ACCEPTED[name])
    assert fields is not None, reason
    strict_value(ACCEPTED[name])


@pytest.mark.parametrize("name", REFUSED)
def test_refused(version: str, name: str) -> None:
    text, expected = REFUSED[name]
    assert check(version, text) == (None, expected)


def test_each_reason_has_a_case_and_a_sentence(version: str) -> None:
    reasons = python(lua_module("strict_json", version)[b"REASONS"])
    assert set(reasons) == {reason for _, reason in REFUSED.values()}


FIELDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "types": (
        {"model": "계약", "stream": False, "max_tokens": "5", "max_completion_tokens": 7, "n": None, "best_of": [1]},
        {
            "model": {"type": "string", "value": "계약"},
            "stream": {"type": "boolean", "value": False},
            "max_tokens": {"type": "string", "value": "5"},
            "max_completion_tokens": {"type": "number", "value": 7},
            "n": {"type": "null"},
            "best_of": {"type": "array"},
        },
    ),
    "a fraction": ({"max_tokens": 2.5}, {"max_tokens": {"type": "number", "value": 2.5}}),
    "Ollama's option": (
        {"options": {"num_predict": 3}, "num_predict": 4},
        {"options.num_predict": {"type": "number", "value": 3}},
    ),
    "options that are none": ({"options": "a", "max_output_tokens": {}}, {"max_output_tokens": {"type": "object"}}),
    "only at the top": ({"metadata": {"model": "a", "messages": []}}, {}),
}


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("indent", [None, 2])
def test_fields(version: str, name: str, indent: int | None) -> None:
    body, expected = FIELDS[name]
    for ascii_only in (True, False):
        text = json.dumps(body, indent=indent, ensure_ascii=ascii_only).encode()
        assert check(version, text)[0] == expected


USER = {"role": "user", "content": "질문"}
HEADS: dict[str, tuple[dict[str, Any], str]] = {
    "prompt": ({"prompt": "once\n"}, "once\n"),
    "prompts": ({"prompt": ["one", "two"]}, "one"),
    "tokens": ({"prompt": [1, 2, 3]}, ""),
    "user": ({"messages": [USER, {"role": "user", "content": "later"}]}, "질문"),
    "system and user": ({"messages": [{"role": "system", "content": "너는 "}, USER]}, "너는 질문"),
    "developer": ({"messages": [{"role": "developer", "content": "d"}, USER]}, "d질문"),
    "assistant before user": ({"messages": [{"role": "assistant", "content": "a"}, USER]}, "질문"),
    "parts": ({"messages": [{"role": "user", "content": [{"type": "text", "text": "part"}]}]}, "part"),
    "an image first": (
        {"messages": [{"content": [{"type": "image_url", "image_url": {"url": "x"}}, {"text": "t"}], "role": "user"}]},
        "t",
    ),
    "no text in parts": ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, ""),
    "Anthropic": ({"system": [{"type": "text", "text": "s"}], "messages": [USER]}, "s질문"),
    "responses": ({"instructions": "i", "input": "질문"}, "i질문"),
    "responses with messages": ({"input": [USER]}, "질문"),
    "Ollama": ({"system": "s", "prompt": "p"}, "sp"),
    "no content": ({"messages": [{"role": "user"}]}, ""),
    "odd messages": ({"messages": [1, "a", None, {"role": 5, "content": 6}]}, ""),
    "no messages": ({"messages": []}, ""),
    "cut on a character": ({"prompt": "가" * 100}, "가" * 85),
    "cut within an escape": ({"prompt": "\n" * 300}, "\n" * 256),
    "cut of a pair": ({"prompt": "a" + "😀" * 100}, "a" + "😀" * 63),
}


@pytest.mark.parametrize("name", HEADS)
def test_the_head_of_the_prompt(version: str, name: str) -> None:
    body, expected = HEADS[name]
    for ascii_only in (True, False):
        fields, _ = check(version, json.dumps(body, ensure_ascii=ascii_only).encode())
        assert fields is not None
        assert fields["prompt_head"] == expected


def test_the_size_of_a_prompt_does_not_depend_on_its_escapes(version: str) -> None:
    body = {
        "messages": [{"role": "user", "content": "계약서를 봐 주세요. é😀\n" * 500}],
        "tools": [{"a": "\t"}],
        "user": "x",
    }
    sizes = {}
    for ascii_only in (True, False):
        fields, _ = check(version, json.dumps(body, ensure_ascii=ascii_only, separators=(",", ":")).encode())
        assert fields is not None
        sizes[ascii_only] = fields["prompt_bytes"]
    plain = [json.dumps(body[key], ensure_ascii=False, separators=(",", ":")) for key in ("messages", "tools")]
    assert sizes[True] == sizes[False] == sum(len(text.encode()) for text in plain) - 500 - 1


PROMPTS = [
    (b'"a, b"', None),
    (b"[]", 1),
    (b'["a"]', 1),
    (b"[1, 2, 3]", 1),
    (b'["a, [b", "c\\"", "\\\\", "d"]', 4),
    (b"[[1, 2], [3], []]", 3),
    (b'[{"prompt_token_ids": [1, 2]}, {"a": "b"}]', 2),
]


@pytest.mark.parametrize(("prompt", "count"), PROMPTS)
def test_prompts_of_a_list_are_counted(version: str, prompt: bytes, count: int | None) -> None:
    fields, _ = check(version, b'{"n":1,"prompt": %b ,"user":"x"}' % prompt)
    assert fields is not None
    assert fields.get("prompts") == count


def test_no_prompt_has_no_size(version: str) -> None:
    assert check(version, b'{"model":"a"}')[0] == {"model": {"type": "string", "value": "a"}}


GOOD = r"""{"model": "tiny", "messages": [{"role": "system", "content": "\ub108\ub294 \"x\""},
 {"role": "user", "content": "안녕 😀\n"}], "max_tokens": 64, "temperature": 0.5, "stream": true,
 "stop": null}""".encode()


INSERTED = (b",", b'"', b"\\", b"{", b"[", b"0", b"\xed\xa0\x80", b"\x00", b"//", b"NaN")


def _broken(chance: random.Random) -> bytes:
    """Return GOOD with one to three bytes removed, replaced, repeated or moved."""
    text = bytearray(GOOD)
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(text))
        match chance.randrange(5):
            case 0:
                del text[at : at + chance.randint(1, 20)]
            case 1:
                text[at] = chance.randrange(256)
            case 2:
                text[at:at] = chance.choice(
                    [b",", b'"', b"\\", b"{", b"[", b"0", b"\xed\xa0\x80", b"\x00", b"//", b"NaN"]
                )
            case 3:
                text[at:at] = text[at : at + chance.randint(1, 40)]
            case _:
                del text[at:]
        if not text:
            break
    return bytes(text)


def test_none_of_1000_malformed_requests_is_accepted(version: str) -> None:
    chance = random.Random(12)  # noqa: S311
    malformed: set[bytes] = set()
    while len(malformed) < 1000:
        text = _broken(chance)
        try:
            strict_value(text)
        except ValueError:
            malformed.add(text)
    assert [text for text in malformed if check(version, text)[0] is not None] == []
    assert check(version, GOOD)[0] is not None
