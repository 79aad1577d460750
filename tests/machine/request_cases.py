"""Requests with values at and beyond the bounds of each parameter of each path that makes vLLM compute.

Standard library only: a test sends this file to a machine, which asks its engine there.
"""

# ruff: noqa: E501
# fmt: off
import json
from collections.abc import Iterator
from typing import Any

NAN, INF = float("nan"), float("inf")
NUMBERS: dict[str, str] = {
    "null": "null", "zero": "0", "minus_one": "-1", "one": "1", "half": "0.5",
    "1e30": "1e30", "-1e30": "-1e30", "1e400": "1e400", "i31": str(2**31-1), "2^31": str(2**31),     "i63": str(2**63-1), "2^63": str(2**63), "below_i64": str(-2**63-1), "2^64": str(2**64),
    "400_digits": "1" + "0"*400, "5000_digits": "1" + "0"*5000, "nan": "NaN", "inf": "Infinity", "-inf": "-Infinity", "tiny": "1e-320",
    "text_5": '"5"', "text": '"x"', "true": "true", "list": "[]", "object": "{}", "list_1": "[1]",
}
BOTH_NUMBERS = ("temperature", "top_p", "top_k", "min_p", "presence_penalty", "frequency_penalty", "repetition_penalty", "length_penalty",
  "n", "best_of", "seed", "max_tokens", "min_tokens", "logprobs", "prompt_logprobs", "truncate_prompt_tokens", "thinking_token_budget",
  "stream_interval", "priority", "routed_experts_prompt_start")
CHAT_NUMBERS = ("top_logprobs", "max_completion_tokens")
FLAGS = ("stream", "echo", "ignore_eos", "use_beam_search", "include_stop_str_in_output", "skip_special_tokens", "spaces_between_special_tokens",
  "add_special_tokens", "return_tokens_as_token_ids", "return_token_ids", "return_token_offsets", "watermarking", "return_mm_kwargs", "detokenize")
CHAT_FLAGS = ("add_generation_prompt", "continue_final_message", "include_reasoning", "parallel_tool_calls", "return_prompt_text", "logprobs")
FLAG_VALUES = {"true": "true", "false": "false", "null": "null", "two": "2", "text": '"x"', "list": "[]"}


def js(value: Any) -> str:
    """Return `value` as JSON."""
    return json.dumps(value)


DEEP = "[" * 900 + "]" * 900
VERY_DEEP = "[" * 100000 + "]" * 100000
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
SCHEMAS = {
  "ok": SCHEMA, "empty": {}, "true": True, "false": False, "number": 5, "text": "x", "empty_text": "", "list": [], "null": None,
  "bad_type": {"type": "strang"}, "type_number": {"type": 5}, "ref_missing": {"$ref": "#/$defs/none"}, "ref_self": {"$ref": "#"},
  "ref_http": {"$ref": "http://127.0.0.1:1/x"}, "ref_loop": {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
  "ref_number": {"$ref": 5}, "pattern_bad": {"type": "string", "pattern": "("}, "pattern_back": {"type": "string", "pattern": "(a)\\1"},
  "pattern_look": {"type": "string", "pattern": "(?=a)b"}, "pattern_nul": {"type": "string", "pattern": "a\x00b"}, "pattern_number": {"type": "string", "pattern": 5},
  "enum_empty": {"enum": []}, "enum_mixed": {"enum": [1, "a", None, {}, []]}, "minimum_huge": {"type": "integer", "minimum": 10**30}, "minimum_cross": {"type": "integer", "minimum": 5, "maximum": 1},
  "min_items_negative": {"type": "array", "minItems": -1}, "min_items_text": {"type": "array", "minItems": "x"}, "unsatisfiable": {"type": "array", "minItems": 3, "maxItems": 1},
  "multiple": {"type": "integer", "multipleOf": 0}, "unique": {"type": "array", "uniqueItems": True}, "format": {"type": "string", "format": "nope"},
  "properties_list": {"type": "object", "properties": []}, "properties_number": {"type": "object", "properties": {"a": 5}}, "required_text": {"type": "object", "required": "a"},
  "all_of": {"allOf": [{"type": "string"}, {"enum": ["yes"]}]}, "any_of_empty": {"anyOf": []}, "not": {"not": {}}, "if": {"if": {}, "then": False},
  "deep": json.loads('{"properties":{"a":' * 200 + "{}" + "}}" * 200), "surrogate": {"enum": ["\ud800"]}, "const_huge": {"const": 10**400},
  "property_names": {"type": "object", "propertyNames": {"pattern": "^a$"}}, "pattern_properties": {"type": "object", "patternProperties": {"(": {}}},
  "unknown_keyword": {"x-y": 1, "type": "object", "additionalProperties": 5},
}
STRUCTURED: dict[str, Any] = {
  "none": {}, "two": {"regex": "a", "choice": ["a"]}, "number": 5, "list": [], "text": "x", "unknown": {"xyz": 1},
  "regex": {"regex": "[ab]{2}"}, "regex_empty": {"regex": ""}, "regex_bad": {"regex": "("}, "regex_nul": {"regex": "a\x00"}, "regex_surrogate": {"regex": "\ud800"}, "regex_back": {"regex": "(a)\\1"},
  "regex_number": {"regex": 5}, "regex_range": {"regex": "a{5,2}"}, "regex_class": {"regex": "[z-a]"}, "regex_many_parens": {"regex": "(" * 3000 + "a" + ")" * 3000},
  "choice": {"choice": ["red", "blue"]}, "choice_empty": {"choice": []}, "choice_empty_text": {"choice": [""]}, "choice_number": {"choice": [1]}, "choice_text": {"choice": "red"}, "choice_quote": {"choice": ['a"b\\', "\n", "\x00"]}, "choice_surrogate": {"choice": ["\ud800"]},
  "grammar": {"grammar": 'root ::= "a" | "b"'}, "grammar_empty": {"grammar": ""}, "grammar_no_root": {"grammar": 'x ::= "a"'}, "grammar_bad": {"grammar": "root ::= ("}, "grammar_left": {"grammar": 'root ::= root "a" | "a"'}, "grammar_undefined": {"grammar": "root ::= x"}, "grammar_self": {"grammar": "root ::= root"}, "grammar_lark": {"grammar": 'start: "a" | "b"'}, "grammar_lark_bad": {"grammar": "start: ("}, "grammar_number": {"grammar": 5}, "grammar_nul": {"grammar": 'root ::= "a\x00"'}, "grammar_empty_rule": {"grammar": 'root ::= ""'},
  "grammar_parens": {"grammar": "root ::= " + "(" * 3000 + '"a"' + ")" * 3000}, "grammar_repeat": {"grammar": 'root ::= "a"{0,1000000}'},
  "json_object": {"json_object": True}, "json_object_false": {"json_object": False}, "json_object_text": {"json_object": "x"},
  "tag": {"structural_tag": json.dumps({"type": "structural_tag", "format": {"type": "json_schema", "json_schema": SCHEMA}})}, "tag_bad": {"structural_tag": "x"}, "tag_empty": {"structural_tag": ""}, "tag_object": {"structural_tag": {}}, "tag_list": {"structural_tag": "[]"}, "tag_number": {"structural_tag": "5"}, "tag_structures": {"structural_tag": json.dumps({"structures": [{"begin": "a", "schema": SCHEMA, "end": "b"}], "triggers": ["a"]})}, "tag_structures_bad": {"structural_tag": json.dumps({"structures": 5, "triggers": 5})}, "tag_trigger_none": {"structural_tag": json.dumps({"structures": [], "triggers": []})},
  "tag_unknown_format": {"structural_tag": json.dumps({"type": "structural_tag", "format": {"type": "nope"}})},
  "whitespace": {"json": SCHEMA, "whitespace_pattern": "("}, "whitespace_number": {"json": SCHEMA, "whitespace_pattern": 5}, "no_whitespace": {"json": SCHEMA, "disable_any_whitespace": True}, "no_additional": {"json": SCHEMA, "disable_additional_properties": True},
  "backend": {"json": SCHEMA, "_backend": "outlines"}, "backend_unknown": {"regex": "a", "_backend": "nope"}, "backend_auto": {"regex": "a", "_backend_was_auto": True, "_backend": "guidance"},
}
FORMATS = {"text": {"type": "text"}, "object": {"type": "json_object"}, "schema_missing": {"type": "json_schema"}, "schema_null": {"type": "json_schema", "json_schema": None}, "schema_number": {"type": "json_schema", "json_schema": 5}, "schema_no_name": {"type": "json_schema", "json_schema": {"schema": SCHEMA}}, "schema_no_schema": {"type": "json_schema", "json_schema": {"name": "a"}}, "unknown": {"type": "xml"}, "no_type": {}, "a_list": [], "a_text": "json", "tag": {"type": "structural_tag", "format": {"type": "json_schema", "json_schema": SCHEMA}}, "tag_old": {"type": "structural_tag", "structures": [{"begin": "a", "schema": SCHEMA, "end": "b"}], "triggers": ["a"]}, "tag_none": {"type": "structural_tag"}, "tag_bad": {"type": "structural_tag", "format": 5}, "strict": {"type": "json_schema", "json_schema": {"name": "a", "strict": True, "schema": SCHEMA}}}
STOP = {"empty": "", "list": [], "list_empty": [""], "one": ["a"], "text": "a", "five": ["a", "b", "c", "d", "e"], "many": ["a"] * 10000, "number": 5, "numbers": [5], "long": ["x" * 100000], "surrogate": ["\ud800"], "null": None, "nulls": [None]}
TOKENS = {"list": [], "one": [1], "minus": [-1], "i31": [2**31], "i63": [2**63 - 1], "2^64": [2**64], "googol": [10**400], "text": ["x"], "float": [1.5], "many": list(range(20000)), "beyond": [100000], "number": 5, "null": None, "nested": [[1]], "true": [True], "twice": [1, 1]}
BIAS = {"empty": {}, "one": {"1": 100}, "over": {"1": 1000}, "minus": {"-1": 1}, "beyond": {"100000": 1}, "word": {"x": 1}, "nan": {"1": NAN}, "inf": {"1": INF}, "huge": {"1": 1e300}, "googol": {str(10**30): 1}, "digits": {"1" * 5000: 1}, "many": {str(i): -100 for i in range(20000)}, "all": {str(i): -100 for i in range(512)}, "text": {"1": "x"}, "null": {"1": None}, "list": [], "number": 5, "spaces": {" 1 ": 1, "1_0": 1}}
WORDS = {"list": [], "empty": [""], "blank": [" "], "one": ["a"], "many": [f"w{i}" for i in range(10000)], "long": ["x " * 50000], "surrogate": ["\ud800"], "number": 5, "numbers": [5], "null": None, "newline": ["\n", "\x00"]}
MAPS = {"empty": {}, "text": {"a": "b"}, "number": {"a": 2**64 - 1}, "huge": {"a": 2**70}, "nan": {"a": NAN}, "list": {"a": [1, "b"]}, "nested": {"a": {"b": 1}}, "a_list": [], "a_number": 5}
EXTRAS: dict[str, dict[str, Any]] = {
  "stop": STOP, "stop_token_ids": TOKENS, "allowed_token_ids": TOKENS, "logprob_token_ids": TOKENS, "logit_bias": BIAS, "bad_words": WORDS,
  "vllm_xargs": MAPS, "kv_transfer_params": {**MAPS, "remote": {"do_remote_prefill": True, "do_remote_decode": True}, "ids": {"prompt_token_ids": [1, 2]}, "ids_bad": {"prompt_token_ids": [2**70]}, "ids_text": {"prompt_token_ids": "x"}, "ids_beyond": {"prompt_token_ids": [100000]}, "ids_empty": {"prompt_token_ids": []}},
  "ec_transfer_params": MAPS, "structured_outputs": STRUCTURED, "response_format": FORMATS,
  "repetition_detection": {"empty": {}, "ok": {"max_pattern_size": 5, "min_count": 2}, "huge": {"max_pattern_size": 2**70, "min_count": 2}, "count": {"max_pattern_size": 5, "min_count": 2**70}, "minus": {"max_pattern_size": -1}, "list": [], "one": {"max_pattern_size": 1, "min_count": 1}, "cross": {"max_pattern_size": 1, "min_pattern_size": 2, "min_count": 2}},
  "request_id": {"empty": "", "slash": "../../x", "long": "x" * 100000, "newline": "a\nb", "surrogate": "\ud800", "number": 5, "null": None, "nul": "\x00", "ok": "same"},
  "session_id": {"empty": "", "long": "x" * 100000, "newline": "a\nb", "number": 5}, "user": {"empty": "", "long": "x" * 100000, "number": 5, "surrogate": "\ud800"},
  "cache_salt": {"empty": "", "ok": "a", "long": "x" * 2000, "number": 5, "surrogate": "\ud800", "nul": "\x00"}, "truncation_side": {"left": "left", "up": "up", "number": 5},
  "mm_payload": {"none": "none", "x": "x"}, "stream_options": {"empty": {}, "usage": {"include_usage": True}, "continuous": {"include_usage": True, "continuous_usage_stats": True}, "text": "x"},
  "model": {"empty": "", "null": None, "number": 5, "unknown": "nope", "path": "../../etc/passwd", "long": "x" * 100000, "surrogate": "\ud800"},
  "guided_json": {"old": SCHEMA}, "guided_regex": {"old": "("}, "guided_choice": {"old": ["a"]}, "guided_grammar": {"old": "root ::= ("}, "guided_decoding_backend": {"old": "nope"}, "guided_whitespace_pattern": {"old": "("},
  "service_tier": {"x": "x", "number": 5}, "store": {"true": True}, "metadata": {"a": {"a": "b"}}, "modalities": {"audio": ["audio"]}, "prediction": {"x": {"type": "content", "content": "x"}}, "web_search_options": {"x": {}}, "logits_processors": {"x": ["os.system"], "number": 5}, "lora_request": {"x": "x"}, "extra_body": {"x": {"top_k": 1}}, "trace_decode_token_ids": {"x": [1]}, "prompt_logprob_token_ids": {"x": [[1]]}, "flat_logprobs": {"x": True},
}
CHAT_EXTRAS: dict[str, dict[str, Any]] = {
  "tools": {"empty": [], "null": None, "number": 5, "bad": [5], "no_name": [{"type": "function", "function": {}}], "ok": [{"type": "function", "function": {"name": "f", "parameters": SCHEMA}}], "strict": [{"type": "function", "function": {"name": "f", "parameters": SCHEMA, "strict": True}}], "params_bad": [{"type": "function", "function": {"name": "f", "parameters": 5}}], "params_list": [{"type": "function", "function": {"name": "f", "parameters": []}}], "surrogate": [{"type": "function", "function": {"name": "\ud800"}}], "custom": [{"type": "custom", "custom": {"name": "f"}}]},
  "tool_choice": {"none": "none", "auto": "auto", "required": "required", "x": "x", "number": 5, "named": {"type": "function", "function": {"name": "f"}}, "named_bad": {"type": "function", "function": 5}, "empty": {}},
  "chat_template": {"ok": "{{ messages[0].content }}", "syntax": "{{", "endless": "{% for i in range(100000000) %}{% for j in range(100000000) %}x{% endfor %}{% endfor %}", "escape": "{{ ''.__class__.__mro__[1].__subclasses__() }}", "number": 5},
  "chat_template_kwargs": {"empty": {}, "tokenize": {"tokenize": True}, "tokenize_no": {"tokenize": False}, "template": {"chat_template": "x"}, "conversation": {"conversation": []}, "messages": {"messages": 5}, "tools": {"tools": 5}, "return_dict": {"return_dict": True}, "padding": {"padding": "max_length", "max_length": 10**9}, "add": {"add_generation_prompt": 5}, "return_tensors": {"return_tensors": "pt"}, "list": [], "number": 5, "self": {"self": 1}, "odd": {"a b": 1, "": 2}, "model_config": {"model_config": 5}, "enable_thinking": {"enable_thinking": "x"}, "truncation": {"truncation": True, "max_length": 1}, "documents": {"documents": 5}, "bos": {"bos_token": 5, "eos_token": [], "messages": None}, "tokenizer": {"tokenizer": 1, "tokenizer_kwargs": {"x": 1}}},
  "documents": {"list": [], "ok": [{"title": "a", "text": "b"}], "bad": [5], "number": 5},
  "media_io_kwargs": {"empty": {}, "image": {"image": {"x": 1}}, "number": 5}, "mm_processor_kwargs": {"empty": {}, "x": {"x": 1}, "number": 5},
  "reasoning_effort": {"low": "low", "none": "none", "x": "x", "number": 5}, "reasoning": {"x": {"effort": "low"}}, "functions": {"x": [{"name": "f"}]}, "function_call": {"x": "auto"},
  "messages": {
    "null": None, "empty": [], "number": 5, "text": "hi", "numbers": [5], "nulls": [None], "empty_one": [{}], "role_unknown": [{"role": "x", "content": "hi"}], "role_number": [{"role": 5, "content": "hi"}], "role_null": [{"role": None, "content": "hi"}],
    "no_content": [{"role": "user"}], "content_null": [{"role": "user", "content": None}], "content_number": [{"role": "user", "content": 5}], "content_object": [{"role": "user", "content": {}}], "content_empty": [{"role": "user", "content": ""}], "content_list_empty": [{"role": "user", "content": []}],
    "part_text": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}], "part_text_null": [{"role": "user", "content": [{"type": "text", "text": None}]}], "part_no_text": [{"role": "user", "content": [{"type": "text"}]}], "part_unknown": [{"role": "user", "content": [{"type": "x"}]}], "part_number": [{"role": "user", "content": [5]}], "part_string": [{"role": "user", "content": ["hi"]}], "part_null": [{"role": "user", "content": [None]}],
    "image": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://127.0.0.1:1/x"}}]}], "image_file": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}]}], "image_data": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]}], "image_bad": [{"role": "user", "content": [{"type": "image_url", "image_url": 5}]}], "image_embeds": [{"role": "user", "content": [{"type": "image_embeds", "image_embeds": "AAAA"}]}],
    "audio": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}]}], "audio_url": [{"role": "user", "content": [{"type": "audio_url", "audio_url": {"url": "http://127.0.0.1:1/x"}}]}], "video": [{"role": "user", "content": [{"type": "video_url", "video_url": {"url": "http://127.0.0.1:1/x"}}]}], "file": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "x"}}]}], "refusal": [{"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}], "thinking": [{"role": "assistant", "content": [{"type": "thinking", "thinking": "no"}]}],
    "tool_calls_number": [{"role": "assistant", "tool_calls": 5}], "tool_calls_text": [{"role": "assistant", "tool_calls": "x"}], "tool_calls_null": [{"role": "assistant", "content": "a", "tool_calls": None}], "tool_calls_bad": [{"role": "assistant", "tool_calls": [5]}], "tool_calls_empty": [{"role": "assistant", "content": "x", "tool_calls": []}], "tool_calls": [{"role": "user", "content": "x"}, {"role": "assistant", "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]}, {"role": "tool", "tool_call_id": "1", "content": "x"}], "tool_calls_arguments": [{"role": "assistant", "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "not json"}}]}], "tool_calls_arguments_number": [{"role": "assistant", "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": 5}}]}], "tool_calls_arguments_list": [{"role": "assistant", "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "[]"}}]}], "tool_calls_no_function": [{"role": "assistant", "tool_calls": [{"id": "1", "type": "function"}]}], "tool_alone": [{"role": "tool", "content": "x"}], "tool_list": [{"role": "tool", "tool_call_id": "1", "content": [{"type": "text", "text": "x"}]}],
    "system_list": [{"role": "system", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}, {"role": "user", "content": "x"}], "system_last": [{"role": "user", "content": "x"}, {"role": "system", "content": "y"}], "developer": [{"role": "developer", "content": "x"}, {"role": "user", "content": "x"}], "function_role": [{"role": "function", "name": "f", "content": "x"}], "surrogate": [{"role": "user", "content": "\ud800"}], "nul": [{"role": "user", "content": "\x00"}], "long": [{"role": "user", "content": "word " * 20000}], "many": [{"role": "user", "content": "x"}] * 5000, "name_number": [{"role": "user", "content": "x", "name": 5}], "reasoning": [{"role": "assistant", "content": "x", "reasoning_content": 5}], "prefix": [{"role": "assistant", "content": "x", "prefix": True}], "special": [{"role": "user", "content": "<s></s><|im_start|>"}], "audio_message": [{"role": "assistant", "audio": {"id": "x"}}], "extra": [{"role": "user", "content": "x", "weird": {"a": 1}}],
    "tool_arguments_deep": [{"role": "assistant", "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": VERY_DEEP}}]}], "tool_arguments_digits": [{"role": "assistant", "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "1" * 5000}}]}],
    "tool_message_tools": [{"role": "system", "content": "x", "tools": 5}, {"role": "user", "content": "x"}],
  },
}
COMPLETION_EXTRAS: dict[str, dict[str, Any]] = {
  "prompt": {"null": None, "empty": "", "list": [], "list_empty": [""], "two": ["a", "b"], "tokens": [1, 2], "minus": [-1], "beyond": [100000], "i31": [2**31], "i63": [2**63 - 1], "2^64": [2**64], "googol": [10**400], "token_lists": [[1], [2]], "token_list_empty": [[]], "mixed": ["a", 1], "mixed_lists": [[1], "a"], "nulls": [None], "number": 5, "object": {}, "float": [1.5], "true": [True], "surrogate": "\ud800", "nul": "\x00", "long": "word " * 20000, "long_tokens": [1] * 20000, "many": ["a"] * 5000, "many_empty": [""] * 5000, "exactly": [1] * 2045, "last": [1] * 2048, "special": "<s></s>", "tokens_last": [511], "tokens_over": [512], "object_text": {"prompt": "x"}},
  "prompt_embeds": {"null": None, "empty": "", "bad": "AAAA", "not_base64": "!!!", "list": ["AAAA"], "list_empty": [], "number": 5, "numbers": [5], "many": ["AAAA"] * 2000},
  "suffix": {"x": "x", "empty": "", "number": 5},
}
COMBINED = {
  "chat": {
    "logprobs_five": '"logprobs": true, "top_logprobs": 5', "logprobs_twenty": '"logprobs": true, "top_logprobs": 20', "logprobs_21": '"logprobs": true, "top_logprobs": 21', "logprobs_all": '"logprobs": true, "top_logprobs": -1', "logprobs_none": '"logprobs": true, "top_logprobs": null', "logprobs_1e30": '"logprobs": true, "top_logprobs": 1e30', "logprobs_nan": '"logprobs": true, "top_logprobs": NaN', "logprobs_half": '"logprobs": true, "top_logprobs": 0.5',
    "logprobs_stream": '"logprobs": true, "top_logprobs": 2, "stream": true', "logprob_ids": '"logprobs": true, "logprob_token_ids": [1, 2]', "logprob_ids_beyond": '"logprobs": true, "logprob_token_ids": [100000]', "logprob_ids_minus": '"logprobs": true, "logprob_token_ids": [-1]', "logprob_ids_googol": '"logprobs": true, "logprob_token_ids": [' + str(2**70) + ']', "logprob_ids_many": '"logprobs": true, "logprob_token_ids": ' + js(list(range(300))), "logprob_ids_top": '"logprobs": true, "top_logprobs": 3, "logprob_token_ids": [1]', "logprob_ids_twice": '"logprobs": true, "logprob_token_ids": [1, 1]',
    "tools_auto": '"tool_choice": "auto", "tools": ' + js(CHAT_EXTRAS["tools"]["ok"]), "tools_required": '"tool_choice": "required", "tools": ' + js(CHAT_EXTRAS["tools"]["ok"]), "tools_named": '"tool_choice": ' + js(CHAT_EXTRAS["tool_choice"]["named"]) + ', "tools": ' + js(CHAT_EXTRAS["tools"]["ok"]), "tools_required_bad": '"tool_choice": "required", "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "strang"}}}]', "tools_required_pattern": '"tool_choice": "required", "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {"a": {"type": "string", "pattern": "("}}}}}]', "tools_structured": '"tool_choice": "required", "structured_outputs": {"regex": "a"}, "tools": ' + js(CHAT_EXTRAS["tools"]["ok"]), "tools_defs": '"tool_choice": "required", "tools": [{"type": "function", "function": {"name": "f", "parameters": {"$defs": {"a": 5}}}}, {"type": "function", "function": {"name": "g", "parameters": {"$defs": {"a": 6}}}}]', "tools_params_number_required": '"tool_choice": "required", "tools": [{"type": "function", "function": {"name": "f", "parameters": {"properties": 5}}}]', "tools_same": '"tool_choice": "required", "tools": ' + js(CHAT_EXTRAS["tools"]["ok"] * 2), "tools_named_no_params": '"tool_choice": ' + js(CHAT_EXTRAS["tool_choice"]["named"]) + ', "tools": [{"type": "function", "function": {"name": "f"}}]',
    "continue": '"continue_final_message": true, "add_generation_prompt": false', "both": '"continue_final_message": true, "add_generation_prompt": true', "beam": '"use_beam_search": true, "n": 2', "beam_logprobs": '"use_beam_search": true, "n": 2, "logprobs": true, "top_logprobs": 3', "beam_stream": '"use_beam_search": true, "n": 2, "stream": true', "beam_huge": '"use_beam_search": true, "n": 16384', "beam_zero": '"use_beam_search": true, "n": 0', "beam_penalty_nan": '"use_beam_search": true, "n": 2, "length_penalty": NaN', "beam_penalty_huge": '"use_beam_search": true, "n": 2, "length_penalty": 1e300', "beam_structured": '"use_beam_search": true, "n": 2, "structured_outputs": {"regex": "[ab]{2}"}', "beam_temperature": '"use_beam_search": true, "n": 2, "temperature": NaN', "beam_temperature_huge": '"use_beam_search": true, "n": 2, "temperature": 1e30', "beam_eos": '"use_beam_search": true, "n": 3, "ignore_eos": true', "beam_format": '"use_beam_search": true, "n": 2, "response_format": {"type": "json_object"}', "beam_temperature_minus": '"use_beam_search": true, "n": 2, "temperature": -1', "beam_50": '"use_beam_search": true, "n": 12',
    "echo_logprobs": '"echo": true, "logprobs": true, "top_logprobs": 2', "return_ids": '"return_token_ids": true, "stream": true', "prompt_text": '"return_prompt_text": true, "stream": true',
    "response_format_and": '"response_format": {"type": "json_object"}, "structured_outputs": {"regex": "a"}',
  },
  "completion": {
    "logprobs_echo": '"logprobs": 3, "echo": true', "logprobs_echo_none": '"logprobs": 3, "echo": true, "max_tokens": 0', "echo_none": '"echo": true, "max_tokens": 0', "logprobs_stream": '"logprobs": 2, "stream": true', "logprobs_all": '"logprobs": -1', "prompt_logprobs_stream": '"prompt_logprobs": 1, "stream": true', "prompt_logprobs_all": '"prompt_logprobs": -1', "logprob_ids": '"logprobs": 2, "logprob_token_ids": [1, 2]', "logprob_ids_one": '"logprobs": 1, "logprob_token_ids": [1, 2, 3]', "logprob_ids_beyond": '"logprobs": 1, "logprob_token_ids": [100000]',
    "beam": '"use_beam_search": true, "n": 2', "beam_echo": '"use_beam_search": true, "n": 2, "echo": true', "beam_prompts": '"use_beam_search": true, "n": 2, "prompt": ["a", "b"]', "beam_stream": '"use_beam_search": true, "n": 2, "stream": true', "beam_logprobs": '"use_beam_search": true, "n": 2, "logprobs": 5', "beam_logprobs_echo": '"use_beam_search": true, "n": 2, "logprobs": 5, "echo": true', "beam_huge": '"use_beam_search": true, "n": 16384', "beam_tokens": '"use_beam_search": true, "n": 2, "max_tokens": 0', "beam_15": '"use_beam_search": true, "n": 15', "beam_penalty_huge": '"use_beam_search": true, "n": 2, "length_penalty": -1e300',
    "n_greedy": '"n": 2, "temperature": 0', "n_two": '"n": 2, "temperature": 1', "n_stream": '"n": 2, "stream": true', "n_huge": '"n": 16384', "best_of_huge": '"best_of": 16384', "best_of_stream": '"best_of": 2, "n": 1, "stream": true', "n_prompts": '"n": 100, "prompt": ' + js(["a"] * 100), "min_over_max": '"min_tokens": 10, "max_tokens": 5', "min_eos": '"min_tokens": 3, "allowed_token_ids": [1], "stop_token_ids": [1]', "bias_all": '"logit_bias": ' + js({str(i): -100 for i in range(400)}) + ', "allowed_token_ids": [5]', "structured_stop": '"structured_outputs": {"regex": "[ab]{2}"}, "stop": ["a"]', "structured_logprobs": '"structured_outputs": {"regex": "[ab]{2}"}, "logprobs": 3', "structured_min": '"structured_outputs": {"choice": ["a"]}, "min_tokens": 3', "structured_allowed": '"structured_outputs": {"choice": ["a"]}, "allowed_token_ids": [5]', "structured_bias": '"structured_outputs": {"choice": ["a"]}, "logit_bias": {"5": 100}', "structured_bad": '"structured_outputs": {"choice": ["a"]}, "bad_words": ["a"]', "structured_eos": '"structured_outputs": {"choice": ["a"]}, "ignore_eos": true, "max_tokens": 10', "structured_n": '"structured_outputs": {"regex": "[ab]{2}"}, "n": 3', "structured_stream": '"structured_outputs": {"regex": "[ab]{2}"}, "stream": true',
    "penalties": '"presence_penalty": -2, "frequency_penalty": 2, "repetition_penalty": 1e30', "penalties_small": '"repetition_penalty": 1e-320', "penalties_seed": '"repetition_penalty": 1e-30, "seed": 5, "top_k": 1, "top_p": 1e-300', "seed_min": '"seed": ' + str(-2**63) + ', "temperature": 1', "seed_minus": '"seed": -5, "temperature": 1, "n": 3', "seed_max": '"seed": ' + str(2**63 - 1) + ', "n": 3, "temperature": 1', "top_k_int31": '"top_k": 2147483647', "top_k_int32": '"top_k": 2147483648', "same_id": '"request_id": "x", "n": 3', "temperature_two": '"temperature": 2', "temperature_over": '"temperature": 2.0000001', "context": '"max_tokens": 100000', "embeds_and_prompt": '"prompt_embeds": "AAAA"', "stop_included": '"stop": ["e"], "include_stop_str_in_output": true', "thinking": '"thinking_token_budget": 0', "echo_tokens": '"echo": true, "prompt": [1, 2]', "echo_lists": '"echo": true, "prompt": [[1], [2]], "stream": true', "truncate": '"truncate_prompt_tokens": 1, "prompt": "a b c"', "truncate_zero": '"truncate_prompt_tokens": 0', "detect": '"repetition_detection": {"max_pattern_size": 3, "min_count": 2}, "max_tokens": 50',
  },
}
MESSAGE_NUMBERS = ("temperature", "top_p", "top_k", "max_tokens")
MESSAGE_EXTRAS: dict[str, dict[str, Any]] = {
  "system": {"text": "x", "empty": "", "null": None, "number": 5, "list": [], "blocks": [{"type": "text", "text": "x"}], "empty_block": [{}], "null_block": [None], "surrogate": "\ud800", "long": "x " * 3000, "image": [{"type": "image", "source": {}}]},
  "messages": {"empty": [], "null": None, "text": "x", "no_content": [{"role": "user"}], "role_unknown": [{"role": "x", "content": "x"}], "system": [{"role": "system", "content": "x"}], "assistant": [{"role": "assistant", "content": "x"}], "blocks": [{"role": "user", "content": [{"type": "text", "text": "x"}]}], "empty_blocks": [{"role": "user", "content": []}], "null_text": [{"role": "user", "content": [{"type": "text", "text": None}]}], "surrogate": [{"role": "user", "content": "\ud800"}],
    "image": [{"role": "user", "content": [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}]}], "image_url": [{"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": "http://127.0.0.1:1/x"}}]}], "image_file": [{"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": "file:///etc/passwd"}}]}], "image_empty": [{"role": "user", "content": [{"type": "image", "source": None}]}],
    "tool_use": [{"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "f", "input": {"a": 1}}]}, {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": "x"}]}], "tool_use_bare": [{"role": "assistant", "content": [{"type": "tool_use"}]}], "tool_result_bare": [{"role": "user", "content": [{"type": "tool_result"}]}], "tool_result_blocks": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": [{"type": "text"}, {}]}]}], "thinking": [{"role": "assistant", "content": [{"type": "thinking", "thinking": "x", "signature": "s"}]}], "redacted": [{"role": "assistant", "content": [{"type": "redacted_thinking", "data": "x"}]}], "addition": [{"role": "system", "content": [{"type": "tool_addition", "tool": {"type": "tool_reference", "name": "f"}}]}], "long": [{"role": "user", "content": "x " * 3000}]},
  "tools": {"empty": [], "null": None, "bare": [{}], "ok": [{"name": "f", "input_schema": SCHEMA}], "schema_list": [{"name": "f", "input_schema": []}], "schema_empty": [{"name": "f", "input_schema": {}}], "builtin": [{"type": "web_search_20250305", "name": "web_search"}], "deferred": [{"name": "f", "input_schema": {}, "defer_loading": True, "strict": True}], "twice": [{"name": "f", "input_schema": {}}] * 2},
  "tool_choice": {"auto": {"type": "auto"}, "any": {"type": "any"}, "tool": {"type": "tool", "name": "f"}, "nameless": {"type": "tool"}, "none": {"type": "none"}, "text": "auto"},
  "thinking": {"on": {"type": "enabled", "budget_tokens": 1024}, "small": {"type": "enabled", "budget_tokens": 1}, "huge": {"type": "enabled", "budget_tokens": 10**30}, "off": {"type": "disabled"}, "adaptive": {"type": "adaptive"}, "text": "x"},
  "output_config": {"effort": {"effort": "max"}, "bad": {"effort": "x"}, "no_schema": {"format": {"type": "json_schema"}}, "text": "x"},
  "stop_sequences": {"empty": [], "null": None, "blank": [""], "number": [5], "many": ["a"] * 100, "surrogate": ["\ud800"], "text": "x"},
  "metadata": {"user": {"user_id": "x"}, "list": [], "text": "x"}, "cache_salt": {"empty": "", "long": "x" * 2000, "number": 5}, "vllm_xargs": {"object": {"a": {}}, "list": {"a": [1]}}, "kv_transfer_params": {"object": {"a": 1}, "decode": {"do_remote_decode": True}, "list": []}, "ec_transfer_params": {"object": {"a": 1}}, "chat_template_kwargs": {"template": {"chat_template": "{{ 1 }}"}, "tokenize": {"tokenize": True}, "messages": {"messages": []}, "tools": {"tools": 5}, "list": []}, "mm_payload": {"none": "none", "bad": "x"}, "service_tier": {"auto": "auto"},
}
RESPONSE_NUMBERS = ("temperature", "top_p", "top_k", "min_p", "max_output_tokens", "top_logprobs", "presence_penalty", "frequency_penalty", "repetition_penalty", "seed", "priority", "max_tool_calls")
RESPONSE_FLAGS = ("stream", "ignore_eos", "skip_special_tokens", "include_stop_str_in_output", "include_reasoning", "parallel_tool_calls", "enable_response_messages", "watermarking", "store", "background")
FUNCTION = {"type": "function", "name": "f", "parameters": SCHEMA}
RESPONSE_EXTRAS: dict[str, dict[str, Any]] = {
  "input": {"null": None, "empty": "", "list": [], "number": 5, "numbers": [5], "nulls": [None], "empty_item": [{}], "surrogate": "\ud800", "nul": "\x00", "long": "word " * 20000, "message": [{"role": "user", "content": "x"}], "typed": [{"type": "message", "role": "user", "content": "x"}], "role_unknown": [{"role": "x", "content": "x"}], "no_role": [{"content": "x"}], "no_content": [{"role": "user"}], "null_content": [{"role": "user", "content": None}],
    "parts": [{"role": "user", "content": [{"type": "input_text", "text": "x"}]}], "part_unknown": [{"role": "user", "content": [{"type": "x"}]}], "part_null": [{"role": "user", "content": [None]}], "part_null_text": [{"role": "user", "content": [{"type": "input_text", "text": None}]}], "no_parts": [{"role": "user", "content": []}], "image": [{"role": "user", "content": [{"type": "input_image", "image_url": "http://127.0.0.1:1/x"}]}], "image_file": [{"role": "user", "content": [{"type": "input_image", "image_url": "file:///etc/passwd", "detail": "auto"}]}], "file": [{"role": "user", "content": [{"type": "input_file", "file_data": "AAAA", "filename": "x"}]}],
    "assistant": [{"role": "assistant", "content": "x"}], "answer": [{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "x"}]}], "answer_bare": [{"role": "assistant", "content": [{"type": "output_text", "text": "x"}]}], "answer_empty": [{"type": "message", "role": "assistant", "content": []}], "answer_refusal": [{"type": "message", "role": "assistant", "content": [{"type": "refusal", "refusal": "x"}]}], "answer_unfinished": [{"type": "message", "role": "assistant", "id": "a", "status": "in_progress", "content": [{"type": "output_text", "text": "x", "annotations": []}]}], "answer_bad": [{"type": "message", "role": "assistant", "content": [{}]}], "answer_notes": [{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "x", "annotations": [{}], "logprobs": [{}]}]}],
    "call": [{"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}"}, {"type": "function_call_output", "call_id": "a", "output": "x"}], "call_bare": [{"type": "function_call"}], "call_bad_json": [{"type": "function_call", "call_id": "a", "name": "f", "arguments": "{"}], "call_deep": [{"type": "function_call", "call_id": "a", "name": "f", "arguments": VERY_DEEP}], "call_digits": [{"type": "function_call", "call_id": "a", "name": "f", "arguments": "1" * 5000}], "call_list": [{"type": "function_call", "call_id": "a", "name": "f", "arguments": "[]"}], "call_namespace": [{"type": "function_call", "call_id": "a", "name": "f", "namespace": "n", "arguments": "{}"}], "output_bare": [{"type": "function_call_output"}], "output_no_call": [{"type": "function_call_output", "output": "x"}], "output_parts": [{"type": "function_call_output", "call_id": "a", "output": [{"type": "input_text", "text": "x"}]}], "output_bad_parts": [{"type": "function_call_output", "call_id": "a", "output": [{}]}], "output_number": [{"type": "function_call_output", "call_id": "a", "output": 5}],
    "reasoning": [{"type": "reasoning", "summary": [{"type": "summary_text", "text": "x"}]}], "reasoning_empty": [{"type": "reasoning", "summary": []}], "reasoning_bare": [{"type": "reasoning"}], "reasoning_secret": [{"type": "reasoning", "summary": [], "encrypted_content": "x"}], "reference": [{"type": "item_reference", "id": "a"}], "search": [{"type": "file_search_call"}], "type_list": [{"type": []}], "type_number": [{"type": 5}], "text_item": ["x"]},
  "instructions": {"text": "x", "empty": "", "null": None, "number": 5, "list": [{}], "surrogate": "\ud800", "long": "word " * 20000},
  "tools": {"empty": [], "null": None, "bare": [{}], "ok": [FUNCTION], "nulls": [None], "no_name": [{"type": "function"}], "parameters_list": [{"type": "function", "name": "f", "parameters": []}], "parameters_null": [{"type": "function", "name": "f", "parameters": None}], "twice": [FUNCTION] * 2, "strict": [{**FUNCTION, "strict": True}], "search": [{"type": "web_search"}], "mcp": [{"type": "mcp", "server_label": "a", "server_url": "http://127.0.0.1:1"}], "code": [{"type": "code_interpreter", "container": {"type": "auto"}}], "custom": [{"type": "custom", "name": "f"}], "text": "x", "number": 5, "name_surrogate": [{"type": "function", "name": "\ud800", "parameters": {}}]},
  "tool_choice": {"auto": "auto", "none": "none", "required": "required", "named": {"type": "function", "name": "f"}, "nameless": {"type": "function"}, "allowed": {"type": "allowed_tools", "mode": "auto", "tools": [{}]}, "hosted": {"type": "web_search_preview"}, "number": 5, "list": [], "null": None},
  "text": {"null": None, "empty": {}, "plain": {"format": {"type": "text"}}, "object": {"format": {"type": "json_object"}}, "unknown": {"format": {"type": "xml"}}, "no_schema": {"format": {"type": "json_schema", "name": "a"}}, "schema_number": {"format": {"type": "json_schema", "name": "a", "schema": 5}}, "no_name": {"format": {"type": "json_schema", "schema": SCHEMA}}, "strict": {"format": {"type": "json_schema", "name": "a", "strict": True, "schema": SCHEMA}}, "verbosity": {"verbosity": "low"}, "list": [], "text": "x"},
  "reasoning": {"low": {"effort": "low"}, "none": {"effort": "none"}, "bad": {"effort": "x"}, "summary": {"summary": "auto"}, "empty": {}, "text": "x"}, "include": {"logprobs": ["message.output_text.logprobs"], "secret": ["reasoning.encrypted_content"], "unknown": ["x"], "twice": ["message.output_text.logprobs"] * 2, "text": "x", "null": None, "numbers": [5]},
  "previous_response_id": {"text": "resp_1", "empty": "", "number": 5}, "previous_input_messages": {"empty": [], "one": [{"role": "user", "content": "x"}], "nulls": [None], "number": 5}, "prompt": {"template": {"id": "pmpt_1"}, "null": None, "text": "x"}, "request_id": {"text": "x", "number": 5, "null": None, "long": "x" * 100000}, "session_id": {"text": "x", "number": 5}, "truncation": {"auto": "auto", "disabled": "disabled", "bad": "x", "null": None}, "service_tier": {"flex": "flex", "bad": "x"}, "metadata": {"one": {"a": "b"}, "number": {"a": 5}, "list": []}, "cache_salt": {"empty": "", "long": "x" * 2000, "ok": "x"}, "user": {"text": "x", "number": 5},
  "vllm_xargs": {"object": {"a": {}}, "list": {"a": [1]}}, "kv_transfer_params": {"object": {"a": 1}, "decode": {"do_remote_decode": True}, "list": []}, "ec_transfer_params": {"object": {"a": 1}}, "chat_template_kwargs": {"template": {"chat_template": "{{ 1 }}"}, "messages": {"messages": []}, "tools": {"tools": 5}, "list": []}, "media_io_kwargs": {"object": {"image": {}}, "list": []}, "mm_processor_kwargs": {"object": {"a": 1}}, "mm_payload": {"none": "none", "bad": "x"}, "stop": STOP, "stop_token_ids": TOKENS, "logit_bias": BIAS, "structured_outputs": STRUCTURED,
}
RESPONSE_COMBINED = {
  "logprobs": '"include": ["message.output_text.logprobs"], "top_logprobs": 5', "logprobs_many": '"include": ["message.output_text.logprobs"], "top_logprobs": 1000', "logprobs_stream": '"include": ["message.output_text.logprobs"], "top_logprobs": 2, "stream": true', "tools_required": '"tool_choice": "required", "tools": ' + js([FUNCTION]), "tools_named": '"tool_choice": {"type": "function", "name": "f"}, "tools": ' + js([FUNCTION]), "tools_other": '"tool_choice": {"type": "function", "name": "g"}, "tools": ' + js([FUNCTION]), "tools_allowed": '"tool_choice": {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "f"}]}, "tools": ' + js([FUNCTION]), "tools_bad": '"tool_choice": "required", "tools": [{"type": "function", "name": "f", "parameters": {"type": "strang"}}]', "both": '"text": {"format": {"type": "json_object"}}, "structured_outputs": {"regex": "a"}', "stored": '"store": true, "background": true', "stream_bad_schema": '"stream": true, "text": {"format": {"type": "json_schema", "name": "a", "schema": {"type": "strang"}}}', "auto_long": '"truncation": "auto", "input": ' + js("word " * 5000), "context": '"max_output_tokens": 100000',
}
RAW = {
  "empty": "", "null": "null", "array": "[]", "number": "5", "text": '"x"', "broken": '{"model": ', "not_json": "hello", "deep": '{"model": "tiny", "x": ' + DEEP + "}", "very_deep": '{"model": "tiny", "x": ' + VERY_DEEP + "}", "very_deep_prompt": '{"model": "tiny", "prompt": ' + VERY_DEEP + ', "messages": ' + VERY_DEEP + "}", "deep_prompt": '{"model": "tiny", "prompt": ' + DEEP + ', "messages": ' + DEEP + "}", "nothing": "{}", "bytes": '{"model": "tiny", "prompt": "\udcff"}', "twice": '{"model": "tiny", "model": "nope", "prompt": "x", "messages": []}', "bom": "\ufeff{}",
  "deep_schema": '{"model": "tiny", "max_tokens": 3, "prompt": "x", "messages": [{"role": "user", "content": "x"}], "structured_outputs": {"json": ' + '{"a":' * 5000 + "1" + "}" * 5000 + "}}", "deep_format": '{"model": "tiny", "max_tokens": 3, "prompt": "x", "messages": [{"role": "user", "content": "x"}], "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": ' + '{"items":' * 5000 + "{}" + "}" * 5000 + "}}}",
  "deep_kwargs": '{"model": "tiny", "max_tokens": 3, "prompt": "x", "messages": [{"role": "user", "content": "x"}], "chat_template_kwargs": {"a": ' + DEEP + '}, "kv_transfer_params": {"a": ' + DEEP + '}, "vllm_xargs": {"a": ' + DEEP + "}}",
  "deep_kv": '{"model": "tiny", "max_tokens": 3, "prompt": "x", "messages": [{"role": "user", "content": "x"}], "kv_transfer_params": {"a": ' + DEEP + "}}", "deep_ec": '{"model": "tiny", "max_tokens": 3, "prompt": "x", "messages": [{"role": "user", "content": "x"}], "ec_transfer_params": {"a": ' + DEEP + "}}",
}
BASES = {"chat": ("/v1/chat/completions", '"messages": [{"role": "user", "content": "hi"}]'), "completion": ("/v1/completions", '"prompt": "hi"'), "messages": ("/v1/messages", '"messages": [{"role": "user", "content": "hi"}]'), "response": ("/v1/responses", '"input": "hi", "max_output_tokens": 3')}


def body(kind: str, fields: str) -> str:
    """Return a body in which `fields` override: the last value of a repeated key counts."""
    return '{"model": "tiny", ' + BASES[kind][1] + ', "max_tokens": 3, ' + fields + "}"


def message_cases() -> Iterator[tuple[str, str, str]]:
    """Yield the cases of Anthropic's API; those that say what a prompt is also for the path that counts its tokens."""
    path = BASES["messages"][0]
    for field in MESSAGE_NUMBERS:
        for name, text in NUMBERS.items():
            yield f"messages.{field}.{name}", path, body("messages", f'"{field}": {text}')
    for name, text in FLAG_VALUES.items():
        yield f"messages.stream.{name}", path, body("messages", f'"stream": {text}')
    for field, values in MESSAGE_EXTRAS.items():
        for name, value in values.items():
            text = body("messages", f'"{field}": {js(value)}')
            yield f"messages.{field}.{name}", path, text
            yield f"count_tokens.{field}.{name}", f"{path}/count_tokens", text
    for name, schema in SCHEMAS.items():
        limited = f'"output_config": {{"format": {{"type": "json_schema", "schema": {js(schema)}}}}}'
        yield f"messages.schema.{name}", path, body("messages", limited)
        tool = f'"tools": [{{"name": "f", "input_schema": {js(schema)}}}], "tool_choice": {{"type": "any"}}'
        yield f"messages.tool.{name}", path, body("messages", tool)
    for name, text in RAW.items():
        yield f"messages.raw.{name}", path, text
        yield f"count_tokens.raw.{name}", f"{path}/count_tokens", text


def response_cases() -> Iterator[tuple[str, str, str]]:
    """Yield the cases of OpenAI's newer API."""
    path = BASES["response"][0]
    for field in RESPONSE_NUMBERS:
        for name, text in NUMBERS.items():
            if (field, name) != ("max_output_tokens", "null"):  # as long as the context
                yield f"response.{field}.{name}", path, body("response", f'"{field}": {text}')
    for field in RESPONSE_FLAGS:
        for name, text in FLAG_VALUES.items():
            yield f"response.{field}.{name}", path, body("response", f'"{field}": {text}')
    for field, values in RESPONSE_EXTRAS.items():
        for name, value in values.items():
            yield f"response.{field}.{name}", path, body("response", f'"{field}": {js(value)}')
    for name, schema in SCHEMAS.items():
        yield f"response.schema.{name}", path, body("response", f'"text": {{"format": {{"type": "json_schema", "name": "a", "schema": {js(schema)}}}}}')
        yield f"response.tool.{name}", path, body("response", f'"tool_choice": "required", "tools": [{{"type": "function", "name": "f", "parameters": {js(schema)}}}]')
    for name, fields in RESPONSE_COMBINED.items():
        yield f"response.with.{name}", path, body("response", fields)
    for name, text in RAW.items():
        yield f"response.raw.{name}", path, text


def cases() -> Iterator[tuple[str, str, str]]:
    """Yield name, path and body of each request."""
    yield from message_cases()
    yield from response_cases()
    for kind in ("chat", "completion"):
        path = BASES[kind][0]
        numbers = BOTH_NUMBERS + (CHAT_NUMBERS if kind == "chat" else ())
        flags = FLAGS + (CHAT_FLAGS if kind == "chat" else ())
        for field in numbers:
            for name, text in NUMBERS.items():
                if (kind, field, name) == ("chat", "max_tokens", "null"):
                    continue  # as long as the context
                yield f"{kind}.{field}.{name}", path, body(kind, f'"{field}": {text}')
        for field in flags:
            for name, text in FLAG_VALUES.items():
                yield f"{kind}.{field}.{name}", path, body(kind, f'"{field}": {text}')
        extras = {**EXTRAS, **(CHAT_EXTRAS if kind == "chat" else COMPLETION_EXTRAS)}
        for field, values in extras.items():
            for name, value in values.items():
                yield f"{kind}.{field}.{name}", path, body(kind, f'"{field}": {js(value)}')
        for name, schema in SCHEMAS.items():
            yield f"{kind}.json.{name}", path, body(kind, f'"structured_outputs": {{"json": {js(schema)}}}')
            yield f"{kind}.schema.{name}", path, body(kind, f'"response_format": {{"type": "json_schema", "json_schema": {{"name": "a", "schema": {js(schema)}}}}}')
        for name, fields in COMBINED[kind].items():
            yield f"{kind}.with.{name}", path, body(kind, fields)
        for name, text in RAW.items():
            yield f"{kind}.raw.{name}", path, text
