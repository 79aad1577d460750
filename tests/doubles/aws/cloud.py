"""moto in server mode with its validations on, seeded, behind the gate, and the providers that call it.

Prints its URL and serves until it is ended:

python -m tests.doubles.aws.cloud
"""

import os
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

ACCOUNT = "123456789012"

VALIDATIONS = {
    "MOTO_ENABLE_AMI_VALIDATION": "true",
    "MOTO_EC2_ENABLE_INSTANCE_TYPE_VALIDATION": "true",
    "MOTO_ENABLE_KEYPAIR_VALIDATION": "true",
}


def main() -> None:
    """Serve on a free port."""
    with tempfile.TemporaryDirectory() as folder:
        from tests.doubles.aws.seed import write_images

        images = Path(folder) / "images.json"
        write_images(images)
        os.environ |= VALIDATIONS | {"MOTO_AMIS_PATH": str(images)}  # moto reads both while it is imported
        _serve()


def _serve() -> None:
    from moto.moto_server.werkzeug_app import (
        DomainDispatcherApplication,
        MotoRequestHandler,
        create_backend_app,
    )
    from werkzeug.serving import make_server

    from tests.doubles.aws.client import connect
    from tests.doubles.aws.gate import Gate
    from tests.doubles.aws.table import FUNCTIONS, KINDS
    from tests.doubles.provider.schema import provider_inputs, resource_schema
    from tests.doubles.provider.server import Package, start

    class Quiet(MotoRequestHandler):
        protocol_version = "HTTP/1.1"  # marks the end of an answer; over 1.0 the client waits until werkzeug closes

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            """Print nothing: the gate keeps a list of calls."""

    for kind in KINDS:
        resource_schema(kind.token)  # loads the SDK before threads use it: its lazy modules are not thread-safe

    def open_provider(environ: dict[str, str], pid: int) -> int:
        return start(Package(version("pulumi_aws"), connect, KINDS, FUNCTIONS, provider_inputs("aws")), environ, pid)

    application = Gate(DomainDispatcherApplication(create_backend_app), ACCOUNT, open_provider)
    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=Quiet)
    sys.stdout.write(f"http://127.0.0.1:{server.port}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main()
