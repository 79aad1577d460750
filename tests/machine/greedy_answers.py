"""Greedy answers of the tiny Llama and its adapters: both engines must give the same words.

The adapters change queries and keys among others, whose rows the two engines keep in different orders. An engine that
applies an adapter in the wrong order still answers, with other words.
"""

TOKENS = 8
"""Length of an answer."""

ANSWERS: dict[str, dict[str, str]] = {
    "tiny": {
        " water and power": " door an lease an lease an lease an",
        " the price was large": " as or are year this good contract year",
    },
    "contract": {
        " bread and salt": " as blue day question has city salt key",
    },
    "summary": {
        " green table": " at south mountain year be chair repair table",
        " a key is lost": " blue window river river river from river sugar",
        " the price was large": " green roof which table room which an chair",
    },
}
"""By model and prompt, as vLLM 0.32 gave them in bfloat16.

Of 16 prompts, those where each token is ahead of the next best by 0.56 or more in log-probability, so that the engines'
different roundings do not change one.
"""
