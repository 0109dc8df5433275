"""A metric of your own as a column of the records: the entropy of the first answer token, in nats."""

import mechpatch as mp


def entropy(patched, baseline, answers):  # logits [pair, answer, position, vocab]
    logp = patched[:, answers.recipient, 0].log_softmax(-1)
    return -(logp.exp() * logp).sum(-1)


model, pairs = mp.load_model("demo"), mp.load_pairs("demo")[:8]
run = mp.run(model, pairs, "position", layers=(1, 3), metrics={"entropy": entropy})
print(run.effects.pivot_table(index="layer", columns="site", values="entropy").round(2))
