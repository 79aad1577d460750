"""Hints for errors of GCP that the engine prints."""

import pytest

from infra.clouds.gcp.api.hints import hint_for

AGAIN, REMOVES = "run the command again; it continues", "it first removes the orphans"


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("Error 409: The resource 'projects/p/zones/z/instances/llm-a-0123-1' already exists, alreadyExists", REMOVES),
        ("Error 409: Service account llm-0123abcd already exists within project projects/p., alreadyExists", REMOVES),
        ("Error 409: Your previous request to create the named bucket succeeded and you already own it.", REMOVES),
        ("Error 409: The requested bucket name is not available. The bucket namespace is shared by all users of the "
         "system., conflict", "`make down`, then `make up`"),
        ("Error 400: Service account llm-0123abcd@p.iam.gserviceaccount.com does not exist., badRequest", AGAIN),
        ("The resource 'llm-0123abcd@p.iam.gserviceaccount.com' of type 'serviceAccount' was not found.", AGAIN),
        ("Quota 'NVIDIA_L4_GPUS' exceeded.  Limit: 0.0 in region asia-northeast3.", "make preflight"),
        ("googleapi: Error 403: Required 'compute.instances.create' permission for 'x', forbidden", ""),
    ],
)  # fmt: skip
def test_an_error_of_the_engine_gets_a_hint_where_one_helps(text: str, hint: str) -> None:
    """After an interrupted `up` the next one said that a name is taken, but not that running it again helps."""
    found = hint_for(text)

    assert (hint in found) if hint else found == ""
