"""Ask one question: `make ask Q="…"`, the smallest use of LLMClient.

python -m serving.ask [--provider NAME] [--stack NAME] [--model NAME] [--system FILE] [--stream] [--mask]

The question is in LLM_QUESTION, or on standard input: arguments are visible to every user of the machine. The answer
goes to stdout, tokens and cost to stderr.
"""

import importlib
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from core.arguments import Parser
from core.console import plain, say, show
from core.errors import CheckError, UsageError, run_cli
from core.paths import CHECKOUT

QUESTION = "LLM_QUESTION"
ENVIRONMENT = CHECKOUT / ".venv"
HAS_SDKS = (".ready-clients", ".ready-tests", ".ready-checks")
"""Files of tools/bootstrap.sh in the environment; one of them is there once the SDKs are installed."""


def main(arguments: Sequence[str] | None = None, env: Mapping[str, str] = os.environ) -> int:
    """Ask, print the answer, and return the exit status."""
    parser = Parser(prog="make ask", description="Ask a model one question.")
    parser.add_argument("--provider", help="claude, openai, ollama, vllm or gateway; default: LLM_PROVIDER")
    parser.add_argument("--stack", help="stack whose gateway to ask")
    parser.add_argument("--model", help="model or adapter; default: the provider's variable, or a stack's base model")
    parser.add_argument("--system", type=Path, metavar="FILE", help="file with the system prompt")
    parser.add_argument("--stream", action="store_true", help="print the answer as it comes")
    parser.add_argument("--mask", action="store_true", help="replace personal data on the way to Claude or OpenAI")
    parser.add_argument("--max-tokens", type=int, help="longest answer")
    options = parser.parse_args(arguments)
    provider = options.provider or env.get("LLM_PROVIDER")
    if options.stack and provider != "gateway":
        parser.error(f"provider {provider} has no stack; only provider gateway has")
    return run_cli(
        lambda: ask(
            _question(env),
            provider=provider,
            stack=options.stack,
            model=options.model,
            system=options.system,
            stream=options.stream,
            masked=options.mask,
            max_tokens=options.max_tokens,
        )
    )


def ask(
    question: str,
    *,
    provider: str | None,
    stack: str | None,
    model: str | None,
    system: Path | None,
    stream: bool,
    masked: bool,
    max_tokens: int | None,
) -> int:
    """Print the answer on stdout. Raises UsageError for a wrong setting and CheckError if there is no answer."""
    from serving.client import LLMClient, LLMError, LLMSettingsError, Settings
    from serving.masking import mask

    try:
        settings = Settings.from_env(provider, stack=stack)
        if stack and settings.provider != "gateway":
            raise UsageError(
                "only provider gateway has a stack", where=f"--stack {stack}", hint="leave one of them out"
            )
        settings = replace(settings, model=model) if model else settings
        _install_sdks()
        say(f"→ {settings.provider}: {settings.model} at {settings.url}")
        client = LLMClient(settings, system=system, mask=mask if masked else None)
        if stream:
            streamed = client.stream(question, max_tokens=max_tokens)
            for piece in streamed:
                print(plain(piece), end="", flush=True)
            print(flush=True)
            answer = streamed.answer
        else:
            answer = client.chat(question, max_tokens=max_tokens)
            show(answer.text)
    except LLMSettingsError as error:
        raise UsageError(error.what, where=error.where, hint=error.hint) from None
    except LLMError as error:
        raise CheckError(str(error)) from None
    cost = "cost unknown" if answer.cost_usd is None else f"${answer.cost_usd:.6f}"
    tokens = f"{_shown(answer.input_tokens)} + {_shown(answer.output_tokens)} tokens"
    say(f"✓ {tokens}, {cost}, {answer.seconds:.1f} s, request {answer.request_id}")
    return 0


def _install_sdks() -> None:
    """Install the SDKs of the clients if this checkout's environment lacks them, now that the settings are right.

    tools/bootstrap.sh, which make runs before, keeps installed ones up to date.
    """
    if Path(sys.prefix).resolve() != ENVIRONMENT.resolve():
        return  # an application that depends on this package has them by its extra `clients`
    if any((ENVIRONMENT / name).exists() for name in HAS_SDKS):
        return
    argv = [str(CHECKOUT / "tools/bootstrap.sh"), "clients"]
    done = subprocess.run(argv, stdout=sys.stderr, stdin=subprocess.DEVNULL, check=False)
    if done.returncode:
        raise UsageError("could not be installed", where="the SDKs", hint="see the lines above, and run this again")
    importlib.invalidate_caches()


def _question(env: Mapping[str, str]) -> str:
    """Return the question. Raises UsageError if there is none."""
    question = env.get(QUESTION, "") or ("" if sys.stdin.isatty() else sys.stdin.read())
    if not question.strip():
        hint = 'write make ask Q="…", or pipe it in: make ask < question.txt'
        raise UsageError("there is no question", where="make ask", hint=hint)
    return question


def _shown(tokens: int | None) -> str:
    return "?" if tokens is None else str(tokens)


if __name__ == "__main__":
    sys.exit(main())
