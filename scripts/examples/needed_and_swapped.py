"""Is a thought needed, how many are, and does the answer follow another question's thoughts?"""

import mechpatch as mp

model, pairs = mp.load_model("demo"), mp.load_pairs("demo")[:6]
run = mp.run(model, pairs, ["necessity", "early", "swap"], hooks="thought")
answers = run.answers.set_index("experiment")
print(answers.loc["necessity"].pivot_table(index="site", columns="donor", values="kept").round(2))
print(answers.loc["early", ["site", "kept", "kept_low", "kept_high", "kept_pairs"]].round(2))
swapped = answers.loc["swap"].query("donor == 'other_value'")
print(swapped.pivot_table(index="site", columns="step", values="followed").round(2))
