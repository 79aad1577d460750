"""`python -m tools.tiny_model [llama|exaone]…`: generate the models and print their folders."""

import sys

from core.arguments import Parser
from core.errors import run_cli
from tools.tiny_model.architectures import ARCHITECTURES
from tools.tiny_model.maker import ADAPTERS, make_tiny_model


def main() -> int:
    """Generate the models of the given shapes and print their folders."""
    parser = Parser(prog="python -m tools.tiny_model", description=__doc__)
    parser.add_argument(
        "shapes", nargs="*", choices=[*ARCHITECTURES, []], help="llama, exaone; both without an argument"
    )
    for shape in parser.parse_args().shapes or ARCHITECTURES:
        model = make_tiny_model(shape)
        print(model.base, *(model.adapter(name) for name in ADAPTERS), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(run_cli(main))
