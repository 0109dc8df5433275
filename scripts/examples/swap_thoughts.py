"""The thoughts of one question, fed back in another one: whose answer comes out?"""

import mechpatch as mp

model, pairs = mp.load_model("demo"), mp.load_pairs("demo")[:6]
thoughts = model.thoughts(pairs)  # [pair, side, thought, d_model]; side 0 clean, 1 corrupted
for pair, (clean, _) in zip(pairs, thoughts, strict=True):
    at = model.sites(pair)["answer"]
    own, swapped = model.run_with_hooks(pair), model.run_with_hooks(pair, thoughts=clean)
    said = [model.tokenizer.decode(logits[0, at].argmax()) for logits in (own, swapped)]
    print(f"{pair.pair_id}: says {said[0]}; with thoughts of the question that {pair.clean.answer} answers: {said[1]}")
