"""The server over a real socket."""

import io
import socket
import threading
import time

import numpy as np
import pytest
from PIL import Image

from tests.hpo.serving.conftest import WEB, picture
from trainer.data.location import exclusive


def test_a_picture_is_labelled_by_its_nearest_classes(serve):
    url = serve()
    found = WEB.post(f"{url}/label?topk=2", data=picture((250, 40, 40))).json()
    assert found["label"] == "red"
    first, second = found["matches"]
    assert first["class"] == "red"
    # Unit vectors of the two colours: |a - b| by hand.
    a, b = (250, 40, 40), (220, 30, 30)
    norm = [sum(x * x for x in v) ** 0.5 for v in (a, b)]
    by_hand = sum((x / norm[0] - y / norm[1]) ** 2 for x, y in zip(a, b, strict=True)) ** 0.5
    assert first["distance"] == pytest.approx(by_hand, abs=1e-3)
    assert second["distance"] > 0.5


def test_a_picture_of_no_class_is_unknown_with_the_nearest_beside(calibrated, serve):
    """Dark hues are known; white is far from all of them."""
    url = serve(unknown_at=0.1)

    def label(color):
        return WEB.post(f"{url}/label?topk=2", data=picture(color)).json()

    red, white = label((198, 12, 11)), label((255, 255, 255))
    assert (red["label"], red["unknown"]) == ("hue0", False)
    assert (white["label"], white["unknown"]) == ("unknown", True)
    units = calibrated / np.linalg.norm(calibrated, axis=1, keepdims=True)
    assert white["matches"][0]["class"] == f"hue{int(units.sum(axis=1).argmax())}"


def test_health_classes_and_description(serve):
    url = serve()
    health = WEB.get(f"{url}/health").json()
    assert (health["status"], health["classes"], health["pictures"]) == ("ok", 3, 3)
    assert WEB.get(f"{url}/classes").json() == {"blue": 1, "green": 1, "red": 1}
    api = WEB.get(f"{url}/openapi.json").json()
    assert set(api["paths"]) == {"/label", "/classes", "/classes/{label}", "/undo", "/health"}
    assert "image/*" in api["paths"]["/label"]["post"]["requestBody"]["content"]


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_the_pages_need_nothing_from_elsewhere(serve, path):
    page = WEB.get(f"{serve()}{path}")
    assert page.status_code == 200
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert "http://" not in page.text
    assert "https://" not in page.text


def test_a_form_brings_the_same_picture(serve, with_token):
    """As a browser and `curl -F` send it, with other fields beside it."""
    url, noise = serve(), np.random.default_rng(3).bytes(3 * 48 * 48)
    Image.frombytes("RGB", (48, 48), noise).save(file := io.BytesIO(), "PNG")
    plain = WEB.post(f"{url}/label", data=file.getvalue()).json()
    form = {"file": ("a b.png", file.getvalue(), "image/png")}
    assert WEB.post(f"{url}/label", files=form, data={"note": "x"}).json() == plain
    assert with_token.post(f"{url}/classes/noise", files=form).json()["new_pictures"] == 1
    again = with_token.post(f"{url}/classes/noise", data=file.getvalue()).json()
    assert again["known_pictures"] == 1


@pytest.mark.parametrize(
    ("form", "got"),
    [
        ({"a": ("a.png", picture((9, 9, 9))), "b": ("b.png", picture((9, 9, 9)))}, "2 files"),
        ({"note": (None, "x")}, "0 files"),
        ({"file": ("a.png", b"")}, "an empty file"),
    ],
)
def test_a_form_holds_one_picture(serve, form, got):
    answer = WEB.post(f"{serve()}/label", files=form)
    assert answer.status_code == 422
    said = f"a form must hold one picture as a file, and holds {got}"
    assert answer.json()["error"] == said


def test_classes_come_and_go_and_come_back(serve, with_token):
    url, yellow = serve(), picture((230, 220, 20))
    done = with_token.post(f"{url}/classes/sour lemon?name=l.png", data=yellow).json()
    assert (done["new_classes"], done["new_pictures"], done["classes"]) == (1, 1, 4)
    assert WEB.post(f"{url}/label", data=yellow).json()["label"] == "sour lemon"
    again = with_token.post(f"{url}/classes/sour lemon", data=yellow).json()
    assert (again["new_pictures"], again["known_pictures"], again["pictures"]) == (0, 1, 4)
    clash = with_token.post(f"{url}/classes/green?name=l.png", data=yellow)
    assert clash.status_code == 409
    assert "l.png: is in the gallery as sour lemon" in clash.json()["error"]
    assert with_token.delete(f"{url}/classes/sour lemon").json()["removed_pictures"] == 1
    assert WEB.post(f"{url}/label", data=yellow).json()["label"] != "sour lemon"
    assert with_token.delete(f"{url}/classes/sour lemon").status_code == 404
    assert with_token.post(f"{url}/undo").json()["classes"] == 4


def test_a_class_of_a_mac_is_taken_out_by_its_other_spelling(run, serve, with_token):
    """Folders that were copied from one are spelt in NFD; `POST` finds them by either."""
    file = run.best_dir / "gallery.npz"
    with np.load(file) as arrays:
        kept = dict(arrays)
    np.savez(file, **kept | {"class_names": ["cafe\u0301", "lemon ", "red"]})
    url = serve()
    for name, error in (
        ("caf%C3%A9s", "caf\u00e9s: no such class in the gallery"),
        ("%20lemon", "lemon: no such class in the gallery"),
    ):
        answer = with_token.delete(f"{url}/classes/{name}")
        assert (answer.status_code, answer.json()["error"]) == (404, error)
    for name in ("%20caf%C3%A9", "lemon%20"):
        assert with_token.delete(f"{url}/classes/{name}").json()["removed_classes"] == 1
    assert list(WEB.get(f"{url}/classes").json()) == ["red"]


@pytest.mark.parametrize(
    ("verb", "path"), [("post", "/classes/red"), ("delete", "/classes/red"), ("post", "/undo")]
)
@pytest.mark.parametrize("header", [None, "Bearer wrong", "Basic a-token-of-the-tests", "Bearer "])
def test_changes_need_the_token(serve, verb, path, header):
    url = serve()
    headers = {} if header is None else {"Authorization": header}
    answer = WEB.request(verb, url + path, data=picture((1, 2, 3)), headers=headers)
    assert answer.status_code == 401
    assert "Authorization: Bearer TOKEN" in answer.json()["error"]
    assert WEB.get(f"{url}/classes").json()["red"] == 1


@pytest.mark.parametrize(
    ("path", "data", "words"),
    [
        ("/label", b"", "the body must be a picture, and is empty"),
        ("/label?name=x.jpg", b"no picture", "x.jpg: not a readable picture"),
        ("/label", picture((9, 9, 9), 64, "JPEG")[:300], "picture: "),
        ("/label?topk=0", picture((9, 9, 9)), "topk: must be at least 1, got '0'"),
        ("/label?topk=-3", picture((9, 9, 9)), "topk: must be at least 1, got '-3'"),
        ("/label?topk=51", picture((9, 9, 9)), "topk: must be at most 50, got '51'"),
        ("/label?topk=many", picture((9, 9, 9)), "topk: must be a whole number, got 'many'"),
        ("/label?topk=1.5", picture((9, 9, 9)), "topk: must be a whole number, got '1.5'"),
        ("/label?topk=", picture((9, 9, 9)), "topk: must be a whole number, got ''"),
        (f"/label?name={'n' * 256}", picture((9, 9, 9)), "name: must have at most 255 characters"),
        ("/classes/new?name=x.jpg", b"no picture", "x.jpg: "),
        ("/classes/", picture((9, 9, 9)), "class: must have 1 to 200 printable"),
        ("/classes/%20", picture((9, 9, 9)), "class: must have 1 to 200 printable"),
        ("/classes/%20..%20", picture((9, 9, 9)), "class: must be a name, got '..'"),
        (
            "/classes/a%0Ab",
            picture((9, 9, 9)),
            "class: must have 1 to 200 printable characters, got 'a\\nb'",
        ),
        ("/classes/a%FFb", picture((9, 9, 9)), "class: must be UTF-8"),
        (f"/classes/{'x' * 201}", picture((9, 9, 9)), "class: must have 1 to 200 printable"),
    ],
)
def test_what_cannot_be_used_is_one_line(serve, with_token, path, data, words):
    answer = with_token.post(serve() + path, data=data)
    assert answer.status_code == 422
    assert answer.json()["error"].startswith(words)
    assert "\n" not in answer.json()["error"]
    assert "hpo-serve-" not in answer.json()["error"]


def test_the_last_class_stays(serve, with_token):
    url = serve()
    answers = [with_token.delete(f"{url}/classes/{name}") for name in ("red", "green", "blue")]
    assert [answer.status_code for answer in answers] == [200, 200, 422]
    assert "must keep a class" in answers[-1].json()["error"]


def test_pictures_of_too_many_bytes_are_refused_told_or_not(serve):
    url, large = serve(max_bytes=1000), b"x" * 5000
    assert WEB.post(f"{url}/label", data=large).status_code == 413
    answer = WEB.post(f"{url}/label", data=iter([large[:900], large[900:]]))
    assert answer.status_code == 413
    assert answer.json() == {"error": "a picture may have 1000 bytes at most"}


def test_pictures_that_would_fill_memory_together_are_refused_and_forgotten(serve):
    url = serve(max_held_bytes=1000)
    host, port = url.removeprefix("http://").split(":")
    for _ in range(2):
        assert WEB.post(f"{url}/label", data=b"x" * 900).status_code == 422  # no picture
    with socket.create_connection((host, int(port))) as slow:
        slow.sendall(b"POST /label HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900\r\n\r\n")
        slow.sendall(b"x" * 800)
        time.sleep(0.2)
        answer = WEB.post(f"{url}/label", data=b"x" * 900)
        assert answer.status_code == 503
        assert answer.json() == {"error": "too many pictures at a time; try again later"}
        slow.sendall(b"x" * 100)
        assert b"422" in slow.recv(1000)
    assert WEB.post(f"{url}/label", data=b"x" * 900).status_code == 422


def test_a_picture_that_does_not_arrive_is_not_waited_for(serve):
    host, port = serve(timeout_s=0.3).removeprefix("http://").split(":")
    began = time.monotonic()
    with socket.create_connection((host, int(port))) as slow:
        slow.sendall(b"POST /label HTTP/1.1\r\nHost: localhost\r\nContent-Length: 500\r\n\r\nabc")
        assert b"408" in slow.recv(1000)
    assert time.monotonic() - began < 10


def test_a_client_that_leaves_leaves_no_traceback(serve, capfd):
    url = serve()
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as leaving:
        leaving.sendall(
            b"POST /label HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nabc"
        )
        time.sleep(0.3)
    time.sleep(0.3)
    assert WEB.get(f"{url}/health").ok
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("host", ["shop.example", "shop.example:8000", "[::2]:80", "", "x\x1b[1m"])
def test_other_names_than_this_machines_are_refused(serve, host):
    url = serve()
    answer = WEB.get(f"{url}/health", headers={"Host": host})
    assert answer.status_code == 400
    said = "the server must be called by 127.0.0.1 or localhost or ::1, got "
    assert answer.json()["error"].startswith(said)
    assert "\x1b" not in answer.json()["error"]
    open_to_all = serve(hosts=("*",))
    assert WEB.get(f"{open_to_all}/health", headers={"Host": host}).ok


@pytest.mark.parametrize("host", ["localhost:81", "LocalHost", "[::1]:8000", "127.0.0.1"])
def test_its_own_names_are_taken(serve, host):
    assert WEB.get(f"{serve()}/health", headers={"Host": host}).ok


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/label?topK=2", "topK: no such word of a query; did you mean 'topk'?"),
        ("/label?TOPK=2", "TOPK: no such word of a query; did you mean 'topk'?"),
        ("/label?zz=2", "zz: no such word of a query; known are topk, name"),
        ("/label?topk=1&topk=2", "topk: must be given once, got 2 times"),
        ("/classes/red?topk=1", "topk: no such word of a query; known are name"),
        ("/undo?%0a%1b=1", "\\x1b: no such word of a query; none is known here"),
    ],
)
def test_words_of_a_query_are_known_and_given_once(serve, with_token, path, said):
    url = serve()
    answer = with_token.post(url + path, data=picture((1, 2, 3)))
    assert (answer.status_code, answer.json()["error"]) == (422, said)
    assert WEB.get(f"{url}/classes").json()["red"] == 1


def test_errors_are_one_printable_line(serve):
    answer = WEB.post(f"{serve()}/label?name=%00a%0a%1b[31m%0D", data=b"no picture")
    assert answer.json()["error"].startswith("\\x00a \\x1b[31m : not a readable picture")


def test_a_class_may_hold_a_slash_and_a_joiner(serve, with_token):
    name = "citrus/le\u200dmon"
    url, yellow = serve(), picture((230, 220, 20))
    assert with_token.post(f"{url}/classes/{name}", data=yellow).json()["new_classes"] == 1
    again = with_token.post(f"{url}/classes/{name.replace('/', '%2F')}", data=yellow).json()
    assert (again["new_pictures"], again["known_pictures"]) == (0, 1)
    assert WEB.get(f"{url}/classes").json()[name] == 1
    assert with_token.delete(f"{url}/classes/citrus").status_code == 404
    assert with_token.delete(f"{url}/classes/{name}").json()["removed_pictures"] == 1


def test_gallery_pictures_are_shown_only_where_a_match_named_them(serve):
    url = serve()
    for path in ("red/0.png", "../../../etc/passwd", "/etc/passwd", "x\0y"):
        assert WEB.get(f"{url}/picture", params={"path": path}).status_code == 404


def test_what_has_begun_keeps_its_thread_and_a_refused_change_is_not_made(
    run, serve, with_token, monkeypatch
):
    """Two threads, both in changes that wait for another process: what comes then has to wait."""
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0})
    url, codes = serve(timeout_s=0.2), {}

    def add(name, color):
        codes[name] = with_token.post(f"{url}/classes/{name}", data=picture(color)).status_code

    colors = {"first": (230, 220, 20), "second": (20, 220, 230)}
    threads = [threading.Thread(target=add, args=item) for item in colors.items()]
    with exclusive(run.best_dir / ".gallery.npz.lock"):
        for thread in threads:
            thread.start()
        time.sleep(0.5)
        late = [
            with_token.post(f"{url}/classes/third", data=picture((230, 20, 220))),
            with_token.post(f"{url}/undo"),
            WEB.post(f"{url}/label", data=picture((230, 20, 220))),
        ]
        assert codes == {}
    for thread in threads:
        thread.join()
    for answer in late:
        assert answer.status_code == 503
        assert answer.json()["error"] == "no answer within 0.2 s; try again later"
    assert codes == {"first": 200, "second": 200}
    expected = {"red", "green", "blue", "first", "second"}
    assert WEB.get(f"{url}/classes").json().keys() == expected


def test_changes_under_load_are_all_there(serve, with_token):
    url, errors = serve(), []

    def label():
        for _ in range(25):
            answer = WEB.post(f"{url}/label", data=picture((240, 30, 30)))
            if answer.status_code != 200 or answer.json()["label"] != "red":
                errors.append(answer.text)

    def add(worker):
        for i in range(8):
            name, color = f"w{worker}-{i}", (10 + 9 * i, 250 - 11 * worker, 200 - 7 * i)
            answer = with_token.post(f"{url}/classes/{name}", data=picture(color))
            if answer.json().get("new_pictures") != 1:
                errors.append(answer.text)

    threads = [threading.Thread(target=label) for _ in range(3)]
    threads += [threading.Thread(target=add, args=(worker,)) for worker in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(WEB.get(f"{url}/classes").json()) == 3 + 3 * 8
