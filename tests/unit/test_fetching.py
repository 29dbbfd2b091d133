"""Documents from the web: only public hosts by https, within limits, politely, and kept once."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rlaif.documents.fetching import Fetcher, FetchSettings, is_public
from rlaif.documents.links import Link, find_documents
from rlaif.errors import Fault, UserError
from tests.local_site import Site, serve_site

AGENT = "Acme research ann@example.org"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with serve_site(tmp_path) as served:
        yield served


def fetcher(site: Site, folder: Path, **settings: float) -> Fetcher:
    chosen = FetchSettings(AGENT, **{"per_second": 1_000, "bytes": 100_000, "seconds": 60.0, **settings})
    return Fetcher(chosen, folder / "kept", allowed=lambda address: address == "127.0.0.1", context=site.context)


def test_a_document_is_fetched_once_and_says_who_asks(site: Site, tmp_path: Path) -> None:
    for _ in range(2):
        assert fetcher(site, tmp_path).fetch(f"{site.url}/moved") == b"Sales rose."
    assert site.asked == [("/moved", AGENT), ("/filing.txt", AGENT)]
    assert len([path for path in (tmp_path / "kept" / "content").rglob("*") if path.is_file()]) == 1


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("/loop", "is redirected more than 5 times"),
        ("/away", "leads to http; expected https"),
        ("/endless", "has more than 100,000 bytes"),
        ("/cut", "ended before its last byte"),
        ("/none", "HTTP 404"),
    ],
)
def test_what_is_not_taken(path: str, problem: str, site: Site, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=problem):
        fetcher(site, tmp_path).fetch(site.url + path)


def test_a_slow_server_ends_in_time_and_a_busy_one_is_asked_again(site: Site, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"takes more than 1 seconds to fetch"):
        fetcher(site, tmp_path, seconds=1.0).fetch(f"{site.url}/slow")
    assert fetcher(site, tmp_path).fetch(f"{site.url}/busy") == b"Sales rose."


def test_requests_keep_to_the_rate(site: Site, tmp_path: Path) -> None:
    slow = fetcher(site, tmp_path, per_second=10)
    began = time.monotonic()
    for number in range(4):
        slow.fetch(f"{site.url}/{number}.txt")
    assert time.monotonic() - began >= 0.3


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "192.168.0.1", "172.16.0.1", "169.254.169.254", "0.0.0.0", "100.64.0.1", "224.0.0.1",
        "::1", "::", "fe80::1%eth0", "fc00::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "2002:7f00:0001::", "ff02::1",
        "64:ff9b::7f00:1",
    ],
)  # fmt: skip
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(address)


def test_hosts_and_links_that_are_refused(tmp_path: Path) -> None:
    assert is_public("8.8.8.8")
    assert is_public("2606:4700::1111")
    public = Fetcher(FetchSettings(AGENT), tmp_path)
    for url in (
        "https://127.0.0.1/a",
        "https://localhost/a",
        "https://[::1]/a",
        "https://2130706433/",
        "https://127.1/",
    ):
        with pytest.raises(UserError, match=r"private network or of this machine|is not known"):
            public.fetch(url)
    for url in ("http://example.org/", "ftp://example.org/", "https://", "https://a:b@example.org/"):
        with pytest.raises(UserError):
            public.fetch(url)


def test_who_asks_must_say_so() -> None:
    with pytest.raises(UserError, match="email address"):
        FetchSettings("curl")
    with pytest.raises(UserError, match="email address"):
        FetchSettings("ann@example.org\r\nX: y")


def test_a_web_address_is_refused_unless_it_is_allowed() -> None:
    with pytest.raises(UserError, match="nothing is fetched unless it is allowed"):
        Link("a", "https://example.org/a.pdf").content(None, 100)


def test_documents_of_folders(tmp_path: Path) -> None:
    for name in ("b/10K.txt", "a/10K.txt", "a/Q1.md", "a/.hidden.txt", "a/data.csv", ".git/x.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("Sales rose.")
    (tmp_path / "empty").mkdir()
    found = find_documents([str(tmp_path), str(tmp_path / "empty"), str(tmp_path / "a" / "Q1.md")])
    first, second = (str(tmp_path / folder / "10K.txt") for folder in "ab")
    assert [(link.name, link.path) for link in found if isinstance(link, Link)] == [
        (first, first), ("Q1", str(tmp_path / "a" / "Q1.md")), (second, second),
    ]  # fmt: skip
    assert [fault.path for fault in found if isinstance(fault, Fault)] == [str(tmp_path / "empty")]
