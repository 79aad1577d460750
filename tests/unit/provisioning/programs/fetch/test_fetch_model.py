"""The program that fetches a model on the host, run as the host runs it, against a hub double."""

import email.utils
import json
import sys
import time
import urllib.request
from collections.abc import Iterator
from email.message import Message
from pathlib import Path

import pytest

from provisioning.converge.resources import Command, File, Unit
from provisioning.programs.fetch.llm_fetch import transfer, web
from provisioning.programs.fetch.llm_fetch.errors import FetchError, InterruptedTransferError
from provisioning.programs.fetch.llm_fetch.files import File as FetchedFile
from provisioning.programs.fetch.llm_fetch.hub import Hub
from provisioning.programs.fetch.llm_fetch.main import fetch, is_whole
from tests.doubles.hub import REPO, REVISION, HubDouble, running_hub
from tests.unit.provisioning.converge.agent_runner import ME, run_agent
from tests.unit.provisioning.programs.fetch.fetching import PROGRAM, run

WEIGHTS = bytes(range(256)) * 4096

FILES = {
    "config.json": b'{"model_type": "llama"}',
    "model.safetensors": WEIGHTS,
    "pytorch_model.bin": b"the same once more",
    "original/params.json": b"{}",
    "picture.png": b"png",
    "code/modeling.py": b"# code",
}
FETCHED = {"config.json", "model.safetensors", "code/modeling.py"}


@pytest.fixture
def hub() -> Iterator[HubDouble]:
    with running_hub(HubDouble(dict(FILES), large=("model.safetensors", "pytorch_model.bin"))) as double:
        yield double


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "models" / "base"


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_files_of_one_format_are_fetched_and_marked(hub: HubDouble, folder: Path) -> None:
    assert run(hub, folder) == (0, "")
    assert names(folder) == FETCHED | {".llm-deploy.json"}
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    assert run(hub, folder, "--check") == (0, "")


def test_a_second_run_fetches_nothing(hub: HubDouble, folder: Path) -> None:
    run(hub, folder)
    hub.downloads.clear()
    assert run(hub, folder) == (0, "")
    assert hub.downloads == []


def test_an_interrupted_transfer_resumes_where_it_stopped(hub: HubDouble, folder: Path) -> None:
    hub.cut_after["model.safetensors"] = 300_000
    assert run(hub, folder) == (0, "")
    ranges = [wanted for name, wanted in hub.downloads if name == "model.safetensors"]
    assert ranges == ["", "bytes=300000-"]
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS


def test_a_killed_run_leaves_a_folder_that_counts_as_incomplete(hub: HubDouble, folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "model.safetensors.part").write_bytes(WEIGHTS[:1000])
    assert run(hub, folder, "--check")[0] == 1
    assert run(hub, folder) == (0, "")
    assert ("model.safetensors", "bytes=1000-") in hub.downloads
    assert names(folder) == FETCHED | {".llm-deploy.json"}


def test_a_part_with_other_content_is_discarded(hub: HubDouble, folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "model.safetensors.part").write_bytes(b"x" * 1000)
    assert run(hub, folder) == (0, "")
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_content_that_differs_from_the_hubs_checksum_is_refused(
    hub: HubDouble, folder: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    hub.corrupt.add(name)
    with pytest.raises(FetchError, match=f"{name} of {REPO} could not be fetched: its .* not the one that"):
        fetch(folder, Hub(REPO, REVISION), {})
    assert not (folder / name).exists()
    assert not is_whole(folder, Hub(REPO, REVISION), {})


def test_a_pinned_checksum_overrides_the_hubs(hub: HubDouble, folder: Path) -> None:
    status, said = run(hub, folder, "model.safetensors=" + "0" * 64)
    assert status == 1
    assert "not 0000" in said
    assert "which the stack file pins" in said


def test_a_pin_for_a_missing_file_is_refused(hub: HubDouble, folder: Path) -> None:
    assert run(hub, folder, "adapter_model.safetensors=" + "0" * 64) == (
        1,
        f"{REPO} has no file adapter_model.safetensors, for which a checksum is pinned\n",
    )


def test_the_token_goes_to_the_hub_and_not_to_its_storage(hub: HubDouble, folder: Path) -> None:
    hub.token = "hf_sample"
    assert run(hub, folder, token="hf_sample") == (0, "")
    assert hub.storage_headers
    assert all("Authorization" not in headers for headers in hub.storage_headers)


@pytest.mark.parametrize(
    ("refusal", "token", "words"),
    [
        (401, "", "acme/base is gated, private or does not exist; set source.token"),
        (401, "hf_wrong", "the hub does not know the token"),
        (403, "hf_wrong", "the token may not read acme/base; accept its licence on "),
    ],
)
def test_a_refusal_says_what_to_do(hub: HubDouble, folder: Path, refusal: int, token: str, words: str) -> None:
    hub.token, hub.refusal = "hf_sample", refusal
    status, said = run(hub, folder, token=token)
    assert status == 1
    assert said.startswith(words)
    assert "hf_" not in said


def test_an_unknown_commit_is_reported(hub: HubDouble, folder: Path) -> None:
    assert run(hub, folder, revision="f" * 40) == (
        1,
        f"{REPO} has no commit {'f' * 40}; look up repository and commit on the hub\n",
    )


def test_a_name_that_leads_elsewhere_is_refused(hub: HubDouble, folder: Path) -> None:
    hub.files["../outside"] = b"x"
    status, said = run(hub, folder)
    assert status == 1
    assert "leads elsewhere" in said
    assert not (folder.parent / "outside").exists()


def test_a_too_small_disk_is_reported_before_anything_is_fetched(
    hub: HubDouble, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    monkeypatch.setattr(transfer, "SPARE_BYTES", 1 << 60)
    with pytest.raises(FetchError, match=r"needs 0\.0 GiB more .* give the host a larger disk"):
        fetch(folder, Hub(REPO, REVISION), {})
    assert hub.downloads == []


@pytest.mark.parametrize("change", ["other revision", "other pin", "a file is gone", "a file has another size"])
def test_changed_files_are_fetched_again(hub: HubDouble, folder: Path, change: str) -> None:
    run(hub, folder)
    pins: dict[str, str] = {}
    revision = REVISION
    match change:
        case "other revision":
            revision = "f" * 40
        case "other pin":
            pins = {"model.safetensors": "0" * 64}
        case "a file is gone":
            (folder / "config.json").unlink()
        case "a file has another size":
            (folder / "config.json").write_text("{}")
    assert not is_whole(folder, Hub(REPO, revision), pins)


def test_the_marker_names_what_was_fetched(hub: HubDouble, folder: Path) -> None:
    run(hub, folder)
    marker = json.loads((folder / ".llm-deploy.json").read_text())
    assert (marker["repo"], marker["revision"]) == (REPO, REVISION)
    assert set(marker["files"]) == FETCHED


def test_an_immutable_folder_is_never_overwritten_by_another_commit(hub: HubDouble, folder: Path) -> None:
    """A served name with its version always means the same files."""
    assert run(hub, folder, "--immutable=yes") == (0, "")
    hub.files["config.json"], hub.revision = b'{"model_type": "other"}', "f" * 40
    status, said = run(hub, folder, "--immutable=yes", revision=hub.revision)
    words = "holds other files, and an immutable tree does not change; raise the version"
    assert (status, said) == (1, f"{folder} {words}\n")
    assert (folder / "config.json").read_bytes() == FILES["config.json"]


def test_an_immutable_folder_is_repaired_from_its_own_commit(hub: HubDouble, folder: Path) -> None:
    run(hub, folder, "--immutable=yes")
    (folder / "config.json").unlink()
    assert run(hub, folder, "--immutable=yes", "--check")[0] == 1
    assert run(hub, folder, "--immutable=yes") == (0, "")
    assert (folder / "config.json").read_bytes() == FILES["config.json"]


INDEX = "model.safetensors.index.json"
UNFIT: dict[str, tuple[dict[str, bytes], str]] = {
    "a missing shard": (
        {INDEX: b'{"weight_map": {"a": "model-00002-of-00002.safetensors"}}'},
        f"{REPO} has no model-00002-of-00002.safetensors, which its {INDEX} names; look up the right revision",
    ),
    "an index that names nothing": ({INDEX: b"{}"}, f"{INDEX} of {REPO} names no weights; get it again"),
    "a pointer": (
        {"model.safetensors": b"version https://git-lfs.github.com/spec/v1\n"},
        f"model.safetensors of {REPO} is a Git LFS pointer, not the file",
    ),
    "a short context": (
        {"config.json": b'{"model_type": "llama", "max_position_embeddings": 2048}'},
        f"config.json of {REPO} allows 2048 tokens, fewer than the 4096 of model.context_tokens; write context_tokens:",
    ),
    "sampling settings that are a list": (
        {"generation_config.json": b"[]"},
        f"generation_config.json of {REPO} is not a JSON object; get it again",
    ),
    "a tokenizer that is a proxy's page": (
        {"tokenizer.json": b"<!doctype html>"},
        f"tokenizer.json of {REPO} is a web page, not the file; a proxy may have answered; get it again",
    ),
    "a pointer for a tokenizer": (
        {"tokenizer.json": b"version https://git-lfs.github.com/spec/v1\n"},
        f"tokenizer.json of {REPO} is a Git LFS pointer, not the file",
    ),
    "a tokenizer's settings that are cut off": (
        {"tokenizer_config.json": b'{"a": '},
        f"tokenizer_config.json of {REPO} is not JSON; get it again",
    ),
    "a pointer for a chat template": (
        {"chat_template.jinja": b"version https://git-lfs.github.com/spec/v1\n"},
        f"chat_template.jinja of {REPO} is a Git LFS pointer",
    ),
    "a config that vLLM does not know": (
        {"config.json": b'{"architectures": ["LlamaForCausalLM"]}'},
        f"config.json of {REPO} names no model_type, which vLLM needs; get it again",
    ),
    "a config of nothing": (
        {"config.json": b'{"architectures": []}'},
        f"config.json of {REPO} names neither architectures nor a model_type; get it again",
    ),
    "a config that is HTML": ({"config.json": b"<html>"}, f"config.json of {REPO} is not JSON"),
}


@pytest.mark.parametrize("name", UNFIT)
def test_an_unfit_model_is_refused_before_its_weights_are_fetched(hub: HubDouble, folder: Path, name: str) -> None:
    """It was fetched completely, and only the engine reported the problem."""
    changed, words = UNFIT[name]
    hub.files.update(changed)
    hub.large = ()
    status, said = run(hub, folder, "--context-tokens=4096", "--engine=vllm")
    assert (status, said[: len(words)]) == (1, words)
    assert len(said.splitlines()) == 1
    assert names(folder) == set()


def test_a_model_that_can_serve_is_fetched(hub: HubDouble, folder: Path) -> None:
    hub.files["config.json"] = b'{"model_type": "llama", "max_position_embeddings": 4096}'
    hub.files["tokenizer.json"] = b'{"model": {"vocab": {"\\u0000": 0}}}'
    assert run(hub, folder, "--context-tokens=4096", "--engine=vllm") == (0, "")
    assert run(hub, folder, "--context-tokens=4096", "--engine=vllm", "--check") == (0, "")


@pytest.fixture
def short(hub: HubDouble, folder: Path) -> Path:
    """A model on the host that accepts texts of 2048 tokens."""
    hub.files["config.json"] = b'{"model_type": "llama", "max_position_embeddings": 2048}'
    assert run(hub, folder, "--context-tokens=2048") == (0, "")
    return folder


ALLOWS = (
    f"config.json of {REPO} allows 2048 tokens, fewer than the 131072 of model.context_tokens; write context_tokens:"
)


def test_a_longer_context_than_the_model_on_the_host_allows_is_refused(hub: HubDouble, short: Path) -> None:
    """The check ignored it: provision restarted a serving engine with options that the engine refuses."""
    assert run(hub, short, "--context-tokens=2048", "--check") == (0, "")
    status, said = run(hub, short, "--context-tokens=131072", "--check")
    assert (status, said) == (1, f"{ALLOWS} 2048 or less\n")


def test_a_config_that_was_damaged_later_is_fetched_again(hub: HubDouble, short: Path) -> None:
    (short / "config.json").write_bytes(b" " * len(hub.files["config.json"]))
    assert run(hub, short, "--context-tokens=2048", "--check")[0] == 1
    assert run(hub, short, "--context-tokens=2048") == (0, "")
    assert run(hub, short, "--context-tokens=2048", "--check") == (0, "")


@pytest.mark.parametrize("mode", ["plan", "apply"])
def test_a_refused_context_leaves_no_restart_of_the_engine_due(
    hub: HubDouble, short: Path, tmp_path: Path, mode: str
) -> None:
    """In the agent: the fetch does not run, and the engine's resources stay unchanged."""
    fetch_it = (sys.executable, str(PROGRAM), REPO, REVISION, str(short), "--context-tokens=131072")
    model = Command(name="model", argv=fetch_it, check=(*fetch_it, "--check"), env={"HF_ENDPOINT": hub.url})
    unit_file = File(path=str(tmp_path / "unit"), content="--max-model-len 131072", after=(model.id,), **ME)
    needed = (model.id, unit_file.id)
    hub.downloads.clear()
    ended = run_agent(tmp_path, [model, unit_file, Unit(name="none.service", restart_on=needed, after=needed)], mode)
    assert ended.statuses == {model.id: "failed", unit_file.id: "skipped", "unit:none.service": "skipped"}
    assert ended.of(model.id)["error"] == f"{ALLOWS} 2048 or less"
    assert hub.downloads == []
    due = tmp_path / "state/due.json"
    assert not due.exists() or json.loads(due.read_text()) == {}


def test_a_hubs_retry_after_is_obeyed(hub: HubDouble, folder: Path) -> None:
    """It answered 429 with Retry-After: 60, and the fetch gave up after 31 seconds."""
    now = time.time()
    date = {"Date": email.utils.formatdate(now, usegmt=True)}
    hub.busy = [
        (429, {"Retry-After": "0"}),
        (503, {**date, "Retry-After": email.utils.formatdate(now, usegmt=True)}),
        *[(429, {"Retry-After": "0"})] * 4,
    ]
    assert run(hub, folder) == (0, "")


class Waits:
    """Records the waits of a fetch without waiting."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds: list[float] = []
        monkeypatch.setattr("time.sleep", self.seconds.append)

    def until(self, *reasons: InterruptedTransferError) -> int:
        """Return the number of tries if the server gives these answers first."""
        left = list(reasons)

        def work() -> int:
            if left:
                raise left.pop(0)
            return len(self.seconds) + 1

        return int(web.in_some_tries(work, "x: "))


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> Waits:
    return Waits(monkeypatch)


def test_waits_are_at_least_as_long_as_requested_and_differ(waits: Waits) -> None:
    assert waits.until(*[InterruptedTransferError("busy", 60.0, busy=True)] * 8) == 9
    assert all(60 <= each <= 67 for each in waits.seconds)
    assert len(set(waits.seconds)) > 1


def test_a_too_long_wait_is_reported_at_once(waits: Waits) -> None:
    with pytest.raises(FetchError, match=r"x: busy, and the server accepts no request for \d+ s; run the same comm"):
        waits.until(InterruptedTransferError("busy", 3600.0, busy=True))
    assert waits.seconds == []


@pytest.mark.parametrize(("busy", "tries"), [(True, 9), (False, 5)])
def test_a_server_without_retry_after_is_asked_several_times(waits: Waits, busy: bool, tries: int) -> None:
    with pytest.raises(FetchError, match="x: gone"):
        waits.until(*[InterruptedTransferError("gone", busy=busy)] * 20)
    assert waits.seconds == [min(each * each, 60) for each in range(1, tries)]


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("60", 60.0),
        ("Sun, 29 Nov 2026 12:01:30 GMT", 90.0),
        ("Sun, 29 Nov 2026 11:00:00 GMT", 0.0),
        ("soon", None),
        ("", None),
        ("-5", None),
        ("1e9", None),
        ("9" * 5000, 999999999.0),
        ("Sun, 99 Nov 2026 12:01:30 GMT", None),
    ],
)
def test_both_forms_of_retry_after_are_understood(header: str, seconds: float | None) -> None:
    said = Message()
    said["Date"], said["Retry-After"] = "Sun, 29 Nov 2026 12:00:00 GMT", header
    assert web._wait_s(said) == seconds


PAGES = {"listing": f"{{url}} answers with a web page in place of a listing: {web.PROXY}"} | {
    name: f"{name} of {REPO} could not be fetched: the server sent a web page: {web.PROXY}"
    for name in ("config.json", "model.safetensors")
}


@pytest.mark.parametrize("name", PAGES)
def test_a_proxys_web_page_is_named_as_the_cause(hub: HubDouble, folder: Path, name: str) -> None:
    """In place of JSON it caused a traceback."""
    hub.page = {name}
    assert run(hub, folder) == (1, PAGES[name].format(url=hub.url) + "\n")
    assert not (folder / name).exists()


@pytest.mark.parametrize(
    "listing", [b"[]", b"{}", b'{"siblings": [1]}', b'{"siblings": [{"rfilename": "a"}]}', b"\xff"]
)
def test_an_invalid_listing_is_reported_in_one_line(hub: HubDouble, folder: Path, listing: bytes) -> None:
    hub.raw_listing = listing
    status, said = run(hub, folder)
    assert (status, said.partition(" that ")[0]) == (1, f"{hub.url} answers with a listing of {REPO}")
    assert len(said.splitlines()) == 1


def test_an_answer_with_a_wrong_length_is_fetched_again(
    hub: HubDouble, folder: Path, monkeypatch: pytest.MonkeyPatch, waits: Waits
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    hub.announced["model.safetensors"] = 1 << 40
    with pytest.raises(FetchError, match=f"the server announces {1 << 40} bytes, not {len(WEIGHTS)}"):
        fetch(folder, Hub(REPO, REVISION), {})
    assert not (folder / "model.safetensors").exists()
    assert len(waits.seconds) >= 4


LIES = ["bytes 5-9/10", "bytes 1048577-1048578/1048579", f"bytes {'9' * 5000}-"]


@pytest.mark.usefixtures("waits")
@pytest.mark.parametrize(("content_range", "begun"), [(lie, part) for lie in LIES for part in (b"", WEIGHTS[:1000])])
def test_a_wrong_content_range_does_not_mix_contents(
    hub: HubDouble, folder: Path, monkeypatch: pytest.MonkeyPatch, content_range: str, begun: bytes
) -> None:
    """It ended in a traceback, or in an error about a missing file."""
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    folder.mkdir(parents=True)
    part = folder / "model.safetensors.part"
    if begun:
        part.write_bytes(begun)
    hub.ranges["model.safetensors"] = content_range
    try:
        fetch(folder, Hub(REPO, REVISION), {})
    except FetchError as error:
        assert str(error).endswith(", not where the last answer ended")  # noqa: PT017  # either is right
        assert not (folder / "model.safetensors").exists()
    else:
        assert (folder / "model.safetensors").read_bytes() == WEIGHTS


def test_a_server_that_cannot_resume_sends_the_whole_file_again(
    hub: HubDouble, folder: Path, monkeypatch: pytest.MonkeyPatch, waits: Waits
) -> None:
    """A part of an earlier run blocked the fetch forever."""
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    folder.mkdir(parents=True)
    (folder / "model.safetensors.part").write_bytes(WEIGHTS[:1000])
    hub.whole_only.add("model.safetensors")
    fetch(folder, Hub(REPO, REVISION), {})
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    assert len(waits.seconds) == 1


HTTPS = "https://hub.example.org/a"


@pytest.mark.parametrize(
    ("to", "carries"),
    [
        ("https://hub.example.org/b", True),
        ("https://cdn.example.org/b", False),
        ("https://hub.example.org:444/b", False),
    ],
)
def test_a_token_follows_redirects_only_to_its_own_server(to: str, carries: bool) -> None:
    asked = urllib.request.Request(HTTPS)
    asked.add_unredirected_header("Authorization", "Bearer sample")
    again = web.Redirect().redirect_request(asked, None, 302, "Found", Message(), to)
    assert again.has_header("Authorization") == carries


@pytest.mark.parametrize("to", ["http://hub.example.org/a", "ftp://hub.example.org/a", "HTTP://hub.example.org/a"])
@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_redirect_away_from_https_is_refused(to: str, code: int) -> None:
    with pytest.raises(FetchError, match=r"^hub\.example\.org redirects to (http|ftp)://, not to https://$"):
        web.Redirect().redirect_request(urllib.request.Request(HTTPS), None, code, "Found", Message(), to)


@pytest.mark.usefixtures("old_urllib")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_every_redirect_is_followed_even_by_an_old_python(hub: HubDouble, folder: Path, status: int) -> None:
    """A permanently moved mirror answered 308, and hosts with a Python before 3.11 reported that as an error."""
    hub.busy = [(status, {"Location": f"/api/models/{REPO}/revision/{REVISION}?blobs=true"})]
    fetch(folder, Hub(REPO, REVISION, hub.url), {})
    assert names(folder) == FETCHED | {".llm-deploy.json"}


@pytest.mark.usefixtures("waits")
@pytest.mark.parametrize("to", ["http://[::1/", "http://a b/", "{url}/again", "file:///etc/passwd"])
def test_a_redirect_to_an_invalid_address_is_reported_in_one_line(hub: HubDouble, folder: Path, to: str) -> None:
    """It caused a traceback."""
    hub.busy = [(302, {"Location": to.format(url=hub.url)})] * 60
    hub_itself = Hub(REPO, REVISION, hub.url)
    with pytest.raises(FetchError) as caught:
        fetch(folder, hub_itself, {})
    assert str(caught.value).isprintable()


LISTINGS = {
    "nothing": ([], f"{REPO} has no file that an engine reads"),
    "a negative size": (
        [{"rfilename": "config.json", "size": -5, "blobId": "a"}],
        "that lacks what a hub says of files",
    ),
    "a long name": (
        [{"rfilename": "a" * 300 + ".json", "size": 5, "blobId": "a"}],
        "aaa..., too long for a file system",
    ),
    "a name of two lines": ([{"rfilename": "a\nb.json", "size": 5, "blobId": "a"}], "which leads elsewhere"),
    "an absolute name": ([{"rfilename": "/etc/b.json", "size": 5, "blobId": "a"}], "which leads elsewhere"),
}


@pytest.mark.parametrize("name", LISTINGS)
def test_a_listing_that_no_hub_sends_is_reported_in_one_line(hub: HubDouble, folder: Path, name: str) -> None:
    """An empty listing gave an empty folder that was marked as complete."""
    entries, words = LISTINGS[name]
    hub.raw_listing = json.dumps({"siblings": entries}).encode()
    status, said = run(hub, folder)
    assert (status, len(said.splitlines())) == (1, 1)
    assert words in said


def test_a_file_with_the_name_of_a_part_is_left_out(hub: HubDouble, folder: Path) -> None:
    """Its content was appended to the weights after their checksum had been verified."""
    hub.files["model.safetensors.part"] = b"other"
    assert run(hub, folder) == (0, "")
    assert names(folder) == FETCHED | {".llm-deploy.json"}
    hub.files = {"a.py": b"1", "a.py.part": b"2"}
    files = [FetchedFile(name, 1, "", giver="the list") for name in hub.files]
    with pytest.raises(FetchError, match=r"has a\.py and a\.py\.part; remove the latter from it"):
        transfer.Fetch(Hub(REPO, REVISION), folder).run(files)


def test_the_hubs_message_about_a_refusal_is_printed(hub: HubDouble, folder: Path) -> None:
    hub.token, hub.refusal, hub.message = "hf_sample", 403, "Your request is awaiting \x1b[2Ja review"
    status, said = run(hub, folder, token="hf_other")
    assert status == 1
    assert "accept its licence on " in said
    assert r"(it says: 'Your request is awaiting \x1b[2Ja review')" in said


def test_a_mirror_replaces_the_hub(hub: HubDouble, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.token = "of the mirror"
    url, hub.url = hub.url, "http://127.0.0.1:1"
    assert run(hub, folder, f"--endpoint={url}", token="of the mirror") == (0, "")
    assert run(hub, folder, f"--endpoint={url}", "--check") == (0, "")
    monkeypatch.setattr(hub, "url", url)
