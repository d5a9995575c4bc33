"""A conditional random field on a tagger's scores, for `recipe.py`; needs `pip install pytorch-crf`.

Source: Lafferty, McCallum and Pereira (2001), Proceedings of ICML 18, pages 282 to 289.
"""

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence
from torchcrf import CRF

from clinical_ner.tags import invalid_tags
from clinical_ner.windows import IGNORED

NEVER = -100.0  # the score of a tag that cannot follow


def _score(sequence: list[str]) -> float:
    """Where a transition begins: 0, or `NEVER` where the scheme has no such sequence."""
    return NEVER if invalid_tags(sequence, "IOB2") else 0.0


def add_crf(net: torch.nn.Module, tags: list[str]):
    """Put a field over `tags` beside the classifier; it learns with the network's weights."""
    net.crf = CRF(len(tags), batch_first=True)
    with torch.no_grad():
        net.crf.start_transitions.zero_()  # a window may begin within a mention
        net.crf.end_transitions.zero_()
        starts = {tag: ["B-" + tag[2:], tag] if tag[0] == "I" else [tag] for tag in tags}
        rows = [[_score([*starts[a], b]) for b in tags] for a in tags]
        net.crf.transitions.copy_(torch.tensor(rows))

    def keep_bounds(module, args, options):
        module.bounds = options["cu_seq_lens_q"].tolist()

    net.register_forward_pre_hook(keep_bounds, with_kwargs=True)


def crf_loss(outputs, labels, num_items_in_batch=None, *, net: torch.nn.Module) -> torch.Tensor:
    """Minus the log-likelihood of the tags of every window of a pack, for each word."""
    scores, gold = [], []
    for first, past in zip(net.bounds, net.bounds[1:]):
        kept = labels[0, first:past] != IGNORED
        if kept.any():
            scores.append(outputs.logits[0, first:past][kept].float())
            gold.append(labels[0, first:past][kept])
    mask = pad_sequence([torch.ones_like(row, dtype=torch.bool) for row in gold], True)
    with torch.autocast(labels.device.type, enabled=False):
        return -net.crf(
            pad_sequence(scores, True), pad_sequence(gold, True), mask, reduction="token_mean"
        )


def crf_tags(net: torch.nn.Module, scores: np.ndarray) -> list[int]:
    """The best class of each word of a text (words, L), given the scores of all."""
    if not len(scores):
        return []
    return net.crf.decode(torch.tensor(scores, device=net.device)[None])[0]
