"""Forms as clients send them, byte by byte."""

import time

import pytest

from hpo.core.errors import DataError
from hpo.serving.form import file_of_form, is_form

DATA = b"\x89PNG\r\n--X-not a boundary\r\n--Xy\r\n\r\n\x00"
FILE = b'Content-Disposition: form-data; name="file"; filename="a.png"'
NOTE = b'Content-Disposition: form-data; name="note"'


def body(*parts, boundary=b"X", end=b"--\r\n"):
    written = [b"--" + boundary + b"\r\n%s\r\n\r\n%s\r\n" % part for part in parts]
    return b"".join(written) + b"--" + boundary + end


@pytest.mark.parametrize(
    ("kind", "boundary"),
    [
        ("multipart/form-data; boundary=X", b"X"),
        ("Multipart/Form-Data; Boundary=X", b"X"),
        ('multipart/form-data; charset=utf-8; boundary="a b.+(c)"', b"a b.+(c)"),
        ("multipart/form-data; boundary*=utf-8''X%2A", b"X*"),
        ("multipart/form-data; boundary=Xä", "Xä".encode("latin-1")),
    ],
)
def test_a_boundary_is_read_in_every_spelling(kind, boundary):
    assert is_form(kind)
    assert file_of_form(kind, body((NOTE, b"x"), (FILE, DATA), boundary=boundary)) == DATA


@pytest.mark.parametrize("sign", [";", '; "', ';a="', ';a="\\"'])
def test_a_form_is_read_in_time_in_proportion_to_its_length(sign):
    begun = time.process_time()
    odd = "multipart/form-data; boundary=X; note=" + sign * (60_000 // len(sign))
    head = b'Content-Disposition: form-data; name="' + sign.encode() * (7_000 // len(sign))
    file = body((FILE, DATA), *[(head, b"x")] * 30)
    assert file_of_form(odd, file) == DATA
    assert time.process_time() - begun < 2  # `email` takes half a minute


@pytest.mark.parametrize("kind", ["", "image/png", "application/octet-stream", "text/multipart"])
def test_other_bodies_are_no_forms(kind):
    assert not is_form(kind)


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Disposition: form-data; name=f; filename*=utf-8''a%20b.png",
        b"Content-Disposition: form-data; name=f; filename*=a; filename*0=b",
        b'Content-Disposition: form-data; name="\\"; f"; filename="a\\".png"',
        b"content-disposition: form-data; FILENAME=a.png\r\nContent-Type: image/png",
        b'Content-Type: image/png\r\nContent-Disposition: form-data;\r\n filename="filename=.png"',
    ],
)
def test_a_file_is_known_by_its_file_name(head):
    kind = "multipart/form-data; boundary=X"
    assert file_of_form(kind, body((head, DATA), (b"X-Note: filename=a", b"x"))) == DATA


@pytest.mark.parametrize(
    ("kind", "sent", "said"),
    [
        ("multipart/form-data", body((FILE, DATA)), "must name its boundary in Content-Type"),
        ("multipart/form-data; boundary=", body((FILE, DATA)), "must name its boundary"),
        ("multipart/form-data; boundary=X", body((FILE, DATA), end=b""), "is incomplete: .*--X--"),
        ("multipart/form-data; boundary=X", body((FILE, DATA))[:-20], "is incomplete"),
        ("multipart/form-data; boundary=Z", body((FILE, DATA)), "is incomplete: .*--Z--"),
        ("multipart/form-data; boundary=X", body((NOTE, DATA)), "holds 0 files"),
        ("multipart/form-data; boundary=X", body((FILE, DATA), (FILE, DATA)), "holds 2 files"),
        ("multipart/form-data; boundary=X", body((FILE, b"")), "holds an empty file"),
        ("multipart/form-data; boundary=X", body(), "holds 0 files"),
        ("multipart/form-data; boundary=" + "X" * 71, body((FILE, DATA)), "at most 70 signs"),
        ("multipart/form-data; boundary=X", body(*[(NOTE, b"x")] * 101), "at most 100 fields"),
        ("multipart/form-data; boundary=X", body((NOTE + b";" * 200_000, b"x")), "8000 bytes"),
        (
            "multipart/form-data; boundary=X",
            body((b"content-disposition: form-data; x*" + b"9" * 5000 + b"=1", b"x")),
            "holds 0 files",
        ),
    ],
)
def test_what_is_no_form_with_one_file_is_told(kind, sent, said):
    with pytest.raises(DataError, match=said):
        file_of_form(kind, sent)
