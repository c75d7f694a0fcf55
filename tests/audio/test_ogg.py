import io

import numpy as np
import pytest
import soundfile

from kgan.audio.ogg import links_of, pages_of, remarks_on


@pytest.fixture(scope="module")
def content():
    file = io.BytesIO()
    soundfile.write(file, np.sin(np.arange(20 * 16000) / 10), 16000, format="OGG", subtype="VORBIS")
    return file.getvalue()


def test_pages_follow_one_another_and_are_whole(content):
    """By the encoder's own checksums; libogg computes them bit by bit."""
    pages = pages_of(content)
    assert len(pages) > 3
    assert [page.start for page in pages] == [0, *(page.end for page in pages[:-1])]
    assert pages[-1].end == len(content)
    assert [page.number for page in pages] == list(range(len(pages)))
    assert all(page.is_whole for page in pages)
    assert remarks_on(pages) == []


def test_one_bit_breaks_one_page(content):
    pages = pages_of(content)
    flipped = bytearray(content)
    flipped[pages[2].end - 1] ^= 1
    assert [page.is_whole for page in pages_of(bytes(flipped))] == [number != 2 for number in range(len(pages))]
    assert remarks_on(pages_of(bytes(flipped))) == ["is damaged: some of its pages are missing or broken"]


def test_a_page_that_is_missing_is_told_from_the_last_one_missing(content):
    pages = pages_of(content)
    without = content[: pages[2].start] + content[pages[2].end :]
    assert remarks_on(pages_of(without)) == ["is damaged: some of its pages are missing or broken"]
    assert remarks_on(pages_of(content[: pages[-1].start])) == ["is cut short: its last page is missing"]
    assert remarks_on(pages_of(content[pages[2].start :])) == ["is damaged: some of its pages are missing or broken"]


def test_links_begin_with_the_first_pages_of_their_streams(content):
    pages = pages_of(content)
    assert [len(link) for link in links_of(pages_of(content + content))] == [len(pages), len(pages)]
    assert links_of([]) == []


def test_streams_side_by_side_are_one_link_and_are_told(content):
    first = pages_of(content)[0]
    other = bytearray(content[: first.end])
    other[14:18] = b"abcd"  # the stream's number
    pages = pages_of(bytes(other) + content)
    assert len(links_of(pages)) == 1
    whole = [page._replace(is_whole=True) for page in pages]
    last = whole[0]._replace(number=1, flags=4)
    assert remarks_on([*whole, last]) == ["holds 2 streams, of which the first with sound is used"]
