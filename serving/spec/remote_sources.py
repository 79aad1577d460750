"""Folders of buckets and web servers as sources, pinned by the checksum of their SHA256SUMS.

They have no commits, so the SHA-256 of that list, as `sha256sum *` writes it, takes the place of one. Fetches nothing.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from core.reading.frozen import Frozen
from core.reading.rules import Problem, Sha256, matching, refuse
from core.reading.secret import SecretRef

BucketUrl = Annotated[
    str,
    matching(
        r"(s3|gs)://[a-z0-9][a-z0-9._-]{1,61}[a-z0-9](/[\w.@=+-]+)*",
        "is not a folder of a bucket; write s3://bucket/folder or gs://bucket/folder",
    ),
]

HttpsUrl = Annotated[
    str,
    matching(
        r"https://[\w.-]+(:\d+)?(/[\w.@=+~-]+)*",
        "is not a folder of a web server; write https://server/folder, without a query and without a login",
    ),
]

LIST_HELP = "SHA-256 of its SHA256SUMS: `sha256sum * > SHA256SUMS; sha256sum SHA256SUMS`."


class BucketSource(Frozen):
    """A folder of a bucket, with a SHA256SUMS of its files."""

    kind: Literal["s3", "gs"] = Field(description="s3: Amazon S3; gs: Google Cloud Storage.")
    url: BucketUrl = Field(description="The folder, e.g. s3://acme-models/exaone-3.5-2.4b.")
    sha256: Sha256 = Field(description=LIST_HELP)
    credentials: Literal["host", "handed"] = Field(
        default="host",
        description="host: the machine's own role reads it. handed: the fetch gets this computer's login.",
    )

    @model_validator(mode="after")
    def _kind_and_url_agree(self) -> Self:
        refuse(
            [Problem("url", f"{self.url} is not of kind {self.kind}", f"write {self.kind}://…, or the other kind")]
            if not self.url.startswith(f"{self.kind}://")
            else []
        )
        return self


class HttpsSource(Frozen):
    """A folder of a web server, with a SHA256SUMS of its files."""

    kind: Literal["https"] = Field(description="https: a folder of a web server.")
    url: HttpsUrl = Field(description="The folder, e.g. https://models.example.com/contract/4.")
    sha256: Sha256 = Field(description=LIST_HELP)
    token: SecretRef | None = Field(default=None, description="Where a bearer token for it is stored.")
