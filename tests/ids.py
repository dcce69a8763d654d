"""Ids and requests for tests, from the text that people read."""

import re
from typing import Any

from discovery.core.jobs import JobKey
from discovery.meta.base import ANSWER, Proposal, RequestId, ScoreRequest, Split


def request_id(text: str) -> RequestId:
    """ "g12/p3" or "g12/answer" as a `RequestId`."""
    found = re.fullmatch(r"g(\d+)/(?:p(\d+)|answer)", text)
    assert found, text
    return RequestId(int(found[1]), ANSWER if found[2] is None else int(found[2]))


def job_key(text: str) -> JobKey:
    """ "g12/p3/search/Catch/s0" as a `JobKey`."""
    owner, split, task, seed = text.rsplit("/", 3)
    return JobKey(request_id(owner), split, task, int(seed.removeprefix("s")))


def score_request(generation: int, index: int, meta_params: Any = None, pair: int = -1) -> ScoreRequest:
    """The request of a proposal, or of an answer."""
    split: Split = "selection" if index == ANSWER else "search"
    proposal = Proposal({} if meta_params is None else meta_params)
    return ScoreRequest(RequestId(generation, index), proposal, split, pair)
