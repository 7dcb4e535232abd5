# SPDX-License-Identifier: Apache-2.0
"""Images with the official SDKs and the scripted runtime: bytes, addresses, events, refusals, what is billed.
The Node SDK's cases of all calls without turns are run here too."""
import base64
import hashlib
import json
import re
import socket
import urllib.error
import urllib.request

import openai
import pytest

import clients
from factory import MODEL, wait_for
from fake_plain import image, vector

DRAW, VEC = "fake/draw", "fake/vectors"
FACTORY = {
    "conf": {
        "model " + DRAW: {"capabilities": "images"},
        "model " + VEC: {"capabilities": "embeddings"},
        "worker fake": {"models": "%s = upstream-name, %s = upstream-draw, %s = upstream-vectors" % (MODEL, DRAW, VEC)},
    }
}


@pytest.fixture(scope="module")
def client(factory):
    return openai.OpenAI(base_url=factory.url + "/v1", api_key=factory.key, max_retries=0, timeout=60)


def test_bytes(factory, client):
    prompt = "fake?tag=bytes&extra=1"
    answer = client.images.generate(
        model=DRAW, prompt=prompt, n=2, size="1024x1024", response_format="b64_json", extra_body={"seed": 7, "priority": 1},
    )
    assert [base64.b64decode(i.b64_json) for i in answer.data] == [image(prompt, 0), image(prompt, 1)]
    assert answer.data[0].revised_prompt == prompt[:20] and answer.data[0].url is None and answer.created > 0
    assert answer.usage.input_tokens == 7 and answer.size == "1024x1024"
    sent = factory.fake.last("bytes")
    assert sent["target"] == "/v1/images/generations"
    assert sent["body"] == {"model": "upstream-draw", "prompt": prompt, "n": 2, "size": "1024x1024",
                            "response_format": "b64_json", "seed": 7}


def test_stream(client):
    events = list(client.images.generate(model=DRAW, prompt="a quay", stream=True, partial_images=2))
    assert [e.type.partition(".")[2] for e in events] == ["partial_image", "partial_image", "completed"]
    assert base64.b64decode(events[0].b64_json) == image("a quay", 0) and events[1].partial_image_index == 1
    assert events[2].usage.input_tokens == 7
    # a runtime that does not stream: the last event alone
    events = list(client.images.generate(model=DRAW, prompt="fake?nostream=1", stream=True, partial_images=2))
    assert [e.type for e in events] == ["image_generation.completed"]
    assert base64.b64decode(events[0].b64_json) == image("fake?nostream=1", 0) and events[0].output_format == "png"


def fetch(url, method="GET"):
    """What a browser gets: without a key."""
    with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=60) as answer:
        return answer.headers, answer.read()


def test_addresses(factory, client):
    prompt = "fake?tag=addresses"
    answer = client.images.generate(model=DRAW, prompt=prompt, n=2)
    assert [i.b64_json for i in answer.data] == [None, None] and answer.data[1].revised_prompt == prompt[:20]
    assert factory.fake.last("addresses")["body"]["response_format"] == "b64_json"
    urls = [i.url for i in answer.data]
    assert len(set(urls)) == 2 and all(re.fullmatch(factory.url + r"/v1/images/hosted/[0-9a-f]{40}\.png", u) for u in urls)
    for i, url in enumerate(urls):
        headers, body = fetch(url)
        assert body == image(prompt, i) and headers["content-type"] == "image/png"
        assert "max-age=3600" in headers["cache-control"] and headers["x-content-type-options"] == "nosniff"
        headers, body = fetch(url, "HEAD")
        assert body == b"" and int(headers["content-length"]) == len(image(prompt, i))
    for name in ("0" * 40 + ".png", "x.png", "../../etc/passwd", "%2e%2e%2fx"):
        with pytest.raises(urllib.error.HTTPError) as missing:
            fetch(factory.url + "/v1/images/hosted/" + name)
        assert missing.value.code == 404 and json.loads(missing.value.read())["error"]["code"] == "not_found"
    # one that takes many pieces, and of an edit
    large = client.images.generate(model=DRAW, prompt="fake?big=9000000", response_format="url")
    assert fetch(large.data[0].url)[1] == image("fake?big=9000000", 0, 9000000)
    edited = client.images.edit(model=DRAW, prompt="fake?", image=("a.png", image("a", 0)))
    assert fetch(edited.data[0].url)[1] == image("fake?", 0)


def test_addresses_of_runtimes(client):
    answer = client.images.generate(model=DRAW, prompt="fake?form=url&host=https://x.test", n=1)
    assert answer.data[0].url == "https://x.test/0.png"


def test_fetched(factory, client):
    """A runtime that answers with addresses whatever it is asked for: those that are its own are fetched, no others."""
    home = factory.fake.url.rpartition("/")[0] + "/made"
    for stream in (False, True):
        prompt = "fake?form=url&nostream=1&host=" + home
        answer = client.images.generate(model=DRAW, prompt=prompt, n=1 if stream else 2, response_format="b64_json", stream=stream)
        made = [e.b64_json for e in answer] if stream else [i.b64_json for i in answer.data]
        assert [base64.b64decode(one) for one in made] == [image("made", i) for i in range(len(made))]
    answer = client.images.generate(model=DRAW, prompt="fake?form=url&host=" + home)
    assert answer.data[0].url.startswith(factory.url) and fetch(answer.data[0].url)[1] == image("made", 0)
    with socket.create_server(("127.0.0.1", 0)) as other:
        other.settimeout(0)
        for host in ("http://127.0.0.1:%d" % other.getsockname()[1], home + "/gone"):
            with pytest.raises(openai.APIStatusError) as refused:
                client.images.generate(model=DRAW, prompt="fake?form=url&host=" + host, response_format="b64_json")
            assert refused.value.status_code == 502 and "response_format url" in refused.value.message, host
        with pytest.raises(BlockingIOError):
            other.accept()


def test_forgotten(factory, client):
    url = client.images.generate(model=DRAW, prompt="x").data[0].url
    fetch(url)
    factory.shift_clock(3700)
    with pytest.raises(urllib.error.HTTPError) as missing:
        fetch(url)
    assert missing.value.code == 404


def test_not_stored(factory, client):
    """Without stored there are no addresses; bytes there are."""
    factory.daemons["stored"].kill()
    with pytest.raises(openai.InternalServerError) as refused:
        client.images.generate(model=DRAW, prompt="x")
    assert refused.value.status_code == 503 and "b64_json" in refused.value.message
    assert client.images.generate(model=DRAW, prompt="x", response_format="b64_json").data[0].b64_json
    factory.restart("stored")
    asked = {"model": DRAW, "prompt": "x"}
    wait_for("an address", lambda: factory.call("POST", "/v1/images/generations", asked).status == 200)


def test_edit(factory, client):
    prompt = "fake?tag=edit"
    answer = client.images.edit(
        model=DRAW, prompt=prompt, image=[("a.png", image("a", 0)), ("b.png", image("b", 0))], mask=("m.png", image("m", 0)),
        n=2, response_format="b64_json", extra_body={"strength": "0.5", "priority": "1"},
    )
    assert [base64.b64decode(i.b64_json) for i in answer.data] == [image(prompt, 0), image(prompt, 1)]
    sent = factory.fake.last("edit")
    assert sent["target"] == "/v1/images/edits" and sent["body"]["model"] == "upstream-draw"
    assert [i["sha256"] for i in sent["body"]["image[]"]] == [hashlib.sha256(image(name, 0)).hexdigest() for name in "ab"]
    assert sent["body"]["mask"]["filename"] == "m.png" and sent["body"]["strength"] == "0.5" and "priority" not in sent["body"]
    answer = client.images.edit(model=DRAW, prompt="x", image=("a.png", image("a", 0, 3000000)), response_format="b64_json")
    assert base64.b64decode(answer.data[0].b64_json) == image("x", 0)
    events = list(client.images.edit(model=DRAW, prompt="x", image=("a.png", image("a", 0)), stream=True, partial_images=1))
    assert [e.type for e in events] == ["image_edit.partial_image", "image_edit.completed"]
    for wrong in ({"image": ("a.txt", b"text")}, {"image": ("a.png", image("a", 0)), "size": "huge"}):
        with pytest.raises(openai.BadRequestError) as refused:
            client.images.edit(model=DRAW, prompt="x", **wrong)
        assert refused.value.param == list(wrong)[-1]


def data_url(name):
    return "data:image/png;base64," + base64.b64encode(image(name, 0)).decode()


def test_edit_json(factory, client):
    """Images as addresses, in JSON: the runtime gets the form that it knows."""
    prompt = "fake?tag=json"
    asked = {"model": DRAW, "prompt": prompt, "images": [{"image_url": data_url(name)} for name in "ab"], "n": 2, "strength": 0.5,
             "mask": {"image_url": data_url("m")}, "response_format": "b64_json"}
    answer = factory.call("POST", "/v1/images/edits", asked)
    assert answer.status == 200, answer.body
    assert [base64.b64decode(i["b64_json"]) for i in answer.json()["data"]] == [image(prompt, 0), image(prompt, 1)]
    sent = factory.fake.last("json")["body"]
    assert [i["sha256"] for i in sent["image[]"]] == [hashlib.sha256(image(name, 0)).hexdigest() for name in "ab"]
    assert sent["mask"]["sha256"] == hashlib.sha256(image("m", 0)).hexdigest()
    assert (sent["model"], sent["n"], sent["strength"]) == ("upstream-draw", "2", "0.5")
    asked = {"model": DRAW, "prompt": "x", "images": [{"image_url": data_url("a")}]}
    address = client.post("/images/edits", body=asked, cast_to=openai.types.ImagesResponse)
    assert fetch(address.data[0].url)[1] == image("x", 0)
    for images, param in ([], "images"), ([{"file_id": "file-1"}], "images[0].file_id"), \
            ([{"image_url": "https://example.com/a.png"}], "images[0].image_url"), \
            ([{"image_url": "data:image/png;base64,QUJD"}], "images[0].image_url"):
        answer = factory.call("POST", "/v1/images/edits", {"model": DRAW, "prompt": "x", "images": images})
        assert answer.status == 400 and answer.json()["error"]["param"] == param, answer.body


def test_large(factory):
    prompt = "fake?big=9000000"
    answer = factory.call("POST", "/v1/images/generations", {"model": DRAW, "prompt": prompt, "response_format": "b64_json"})
    assert answer.status == 200 and base64.b64decode(answer.json()["data"][0]["b64_json"]) == image(prompt, 0, 9000000)
    body = {"model": DRAW, "prompt": prompt, "stream": True}
    answer = factory.call("POST", "/v1/images/generations", body)
    assert answer.get("content-type").startswith("text/event-stream") and len(answer.body) > 12000000


@pytest.mark.parametrize("body,param,says", [
    ({"model": DRAW}, "prompt", "required"),
    ({"model": DRAW, "prompt": ""}, "prompt", "empty"),
    ({"model": DRAW, "prompt": "x" * 32001}, "prompt", "32000"),
    ({"model": DRAW, "prompt": "x", "n": 11}, "n", "between"),
    ({"model": DRAW, "prompt": "x", "size": "large"}, "size", "1024x1024"),
    ({"model": DRAW, "prompt": "x", "response_format": "png"}, "response_format", "b64_json"),
    ({"model": MODEL, "prompt": "x"}, "model", "does not make images"),
])
def test_refused(factory, body, param, says):
    answer = factory.call("POST", "/v1/images/generations", body)
    error = answer.json()["error"]
    assert answer.status == 400 and error["param"] == param and says in error["message"]


def test_other_paths(factory):
    assert factory.call("POST", "/v1/images/variations", {"model": DRAW}).status == 404
    answer = factory.call("POST", "/anthropic/v1/images/generations", {"model": DRAW, "prompt": "x"})
    assert answer.status == 404 and "/openai/v1/images/generations" in answer.json()["error"]["message"]


def test_runtime_fails(client):
    for script, kind in (("form=url", openai.InternalServerError), ("bad=1", openai.InternalServerError),
                         ("status=400&message=unsafe", openai.BadRequestError)):
        with pytest.raises(kind):
            client.images.generate(model=DRAW, prompt="fake?" + script, response_format="b64_json")
    with pytest.raises(openai.InternalServerError):
        client.images.generate(model=DRAW, prompt="fake?error_first=1", stream=True)
    with pytest.raises(openai.APIError):
        list(client.images.generate(model=DRAW, prompt="fake?abort=1", stream=True, partial_images=1))


@pytest.mark.parametrize("environment", ["node", "node-old"])
def test_node(factory, environment):
    facts = {"vectors": VEC, "vector": json.dumps(vector("one text")), "images": DRAW}
    results = clients.run(factory, "plain_cases.mjs", environment, **facts)
    assert results == {name: None for name in clients.names("plain_cases.mjs")}


def test_usage(factory):
    factory.keyctl("workspace", "create", "draws", "--plan", "local")
    client = openai.OpenAI(base_url=factory.url + "/v1", api_key=factory.mint(workspace="draws"), max_retries=0)
    client.images.generate(model=DRAW, prompt="fake?count=5", n=3, response_format="b64_json")
    assert len(list(client.images.generate(model=DRAW, prompt="fake?count=4", stream=True, partial_images=1))) == 2
    row = factory.settled(2, workspace="draws")
    assert int(row["images"]) == 4 and int(row["input_tokens"]) == 9 and int(row["output_tokens"]) == 0
