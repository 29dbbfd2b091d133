"""The columns of the Parquet files of a run."""

import pyarrow as pa

MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))

_CHUNKS = ("chunks", pa.list_(pa.string()))
"""Ids of the chunks that a retrieved context is made of, best first; null of others, and in files of before it."""

_ANSWER = [
    ("prompt", MESSAGES),
    ("answer", MESSAGES),
    ("prompt_id", pa.string()),
    ("candidate", pa.int32()),
    ("prompt_token_ids", pa.list_(pa.int32())),
    ("token_ids", pa.list_(pa.int32())),
    _CHUNKS,
]
"""Of a row that holds one answer."""

_ORIGIN = [
    ("source", pa.string()),
    ("judge", pa.string()),
    ("judge_sha", pa.string()),
    ("policy", pa.string()),
    ("round", pa.int32()),
]
"""Who decided what a row says, and which policy sampled it in which round."""

CANDIDATES = pa.schema(
    [
        ("prompt_id", pa.string()),
        ("candidate", pa.int32()),
        ("text", pa.string()),
        ("token_ids", pa.list_(pa.int32())),
        ("logprobs", pa.list_(pa.float32())),
        ("finish_reason", pa.string()),
        ("policy", pa.string()),
        ("seed", pa.int64()),
        ("prompt_token_ids", pa.list_(pa.int32())),
        _CHUNKS,
    ]
)

CONTEXTS = pa.schema(
    [
        # `train`, `heldout` or `test`: two of them may have questions of one id.
        ("set", pa.string()),
        ("question_id", pa.string()),
        ("rank", pa.int32()),
        ("chunk", pa.string()),
        ("document", pa.string()),
        ("sha256", pa.string()),
        ("page", pa.int32()),
        ("place", pa.int32()),
        ("score", pa.float64()),
        ("text", pa.string()),
    ]
)
"""The chunks that contexts are made of, by question and from rank 1, the best."""

DEMONSTRATIONS = pa.schema(
    [
        ("id", pa.string()),
        ("prompt", MESSAGES),
        ("answer", MESSAGES),
        ("token_ids", pa.list_(pa.int32())),
        # Of the spans of tokens that are learned.
        ("starts", pa.list_(pa.int32())),
        ("ends", pa.list_(pa.int32())),
        # The question of the run that it answers; null for one of a file.
        ("prompt_id", pa.string()),
        # Of one that the policy sampled; null for others.
        ("candidate", pa.int32()),
        ("reward", pa.float64()),
        ("policy", pa.string()),
        ("round", pa.int32()),
        _CHUNKS,
    ]
)

FAILURES = pa.schema(
    [("prompt_id", pa.string()), ("stage", pa.string()), ("reason", pa.string()), ("attempts", pa.int32())]
)

VERDICTS = pa.schema(
    [
        ("prompt_id", pa.string()),
        ("first", pa.int32()),
        ("second", pa.int32()),
        ("preference", pa.float64()),
        ("score", pa.float64()),
        ("status", pa.string()),
        ("text", pa.string()),
        ("judge", pa.string()),
        ("judge_sha", pa.string()),
        ("prompt_sha", pa.string()),
        ("order", pa.string()),
        ("prompt_tokens", pa.int32()),
        ("completion_tokens", pa.int32()),
        ("seconds", pa.float64()),
        # Shards that were written before these columns existed lack them.
        ("mass", pa.float64()),
        ("marks", pa.list_(pa.struct([("criterion", pa.string()), ("mark", pa.float64()), ("weight", pa.float64())]))),
    ]
)

ROUND_VERDICTS = VERDICTS.append(pa.field(*_CHUNKS))
"""Of the verdicts on a round's candidates: with what the judge was shown."""

PAIRS = pa.schema(
    [
        ("pair_id", pa.string()),
        ("prompt", MESSAGES),
        ("chosen", MESSAGES),
        ("rejected", MESSAGES),
        ("prompt_id", pa.string()),
        ("chosen_candidate", pa.int32()),
        ("rejected_candidate", pa.int32()),
        ("prompt_token_ids", pa.list_(pa.int32())),
        ("chosen_token_ids", pa.list_(pa.int32())),
        ("rejected_token_ids", pa.list_(pa.int32())),
        ("ref_chosen_logp", pa.float64()),
        ("ref_rejected_logp", pa.float64()),
        ("score_chosen", pa.float64()),
        ("score_rejected", pa.float64()),
        ("margin", pa.float64()),
        *_ORIGIN,
        # The people who decided a pair of source `human`; files that were written before this column existed lack it.
        ("labelled_by", pa.list_(pa.string())),
        _CHUNKS,
    ]
)

RATINGS = pa.schema(
    [
        ("rating_id", pa.string()),
        *_ANSWER,
        ("desirable", pa.bool_()),
        ("score", pa.float64()),
        *_ORIGIN,
    ]
)

ROLLOUTS = pa.schema(
    [
        ("rollout_id", pa.string()),
        *_ANSWER,
        ("logprobs", pa.list_(pa.float32())),
        # Null where no judge gave one.
        ("reward", pa.float64()),
        ("truncated", pa.bool_()),
        *_ORIGIN,
    ]
)
