# SPDX-License-Identifier: Apache-2.0
"""What programs do with Cohere's SDK, of which only reranking is served here, in both versions of its API."""
import sys

import cohere

from cases import KEY, URL, main, setting

RANK = setting("RANK")
DOCS = ["red apple", "green apple pie", "blue"]


def case_rerank_v2():
    client = cohere.ClientV2(api_key=KEY, base_url=URL, timeout=60)
    answer = client.rerank(model=RANK, query="x\nred apple", documents=DOCS, top_n=2)
    assert [r.index for r in answer.results] == [0, 1] and answer.results[0].relevance_score == 1.0, answer
    assert len(client.rerank(model=RANK, query="x\nred apple", documents=DOCS).results) == 3


def case_rerank_v1():
    client = cohere.Client(api_key=KEY, base_url=URL, timeout=60)
    answer = client.rerank(model=RANK, query="x\nred apple", documents=[{"text": d} for d in DOCS], return_documents=True)
    assert [r.document.text for r in answer.results] == DOCS, answer


def case_rerank_errors():
    client = cohere.ClientV2(api_key=KEY, base_url=URL, timeout=60)
    for more, kind, status in (({"documents": []}, cohere.BadRequestError, 400), ({"model": "no/such"}, cohere.NotFoundError, 404)):
        try:
            client.rerank(**{"model": RANK, "query": "x", "documents": DOCS, **more})
        except kind as error:
            assert error.status_code == status and error.body["error"]["message"], error
        else:
            raise AssertionError("no error of %s" % more)
    try:
        cohere.ClientV2(api_key="tf-prod-none", base_url=URL, timeout=60).rerank(model=RANK, query="x", documents=DOCS)
    except cohere.UnauthorizedError as error:
        assert error.status_code == 401
    else:
        raise AssertionError("a key that there is not")


if __name__ == "__main__":
    main(sys.modules[__name__])
