"""The number of examples: few and always the same in `make test`, EXAMPLES random ones in `make fuzz`."""

import os

from hypothesis import HealthCheck, settings

EXAMPLES = "LLM_DEPLOY_FUZZ_EXAMPLES"
"""Set by `make fuzz`. Failures are kept in .hypothesis/ and tried first next time; write them as an @example."""

FEW = 40

_COMMON = {"deadline": None, "suppress_health_check": list(HealthCheck)}  # tests/fuzz/judged.py has the time limit

settings.register_profile("few", max_examples=FEW, derandomize=True, database=None, **_COMMON)  # type: ignore[arg-type]
settings.register_profile(
    "many",
    max_examples=int(os.environ.get(EXAMPLES) or FEW),
    print_blob=True,
    **_COMMON,  # type: ignore[arg-type]
)
settings.load_profile("many" if os.environ.get(EXAMPLES) else "few")
